"""What a type checker without the plugin must say: `# error` marks the lines to reject; others must pass."""

from functools import partial
from typing import Any, assert_type

import soniq
from soniq_django.celery import shared_task
from soniq_django.tasks import task

app = soniq.Soniq(backend="memory")


@soniq.job
def send_receipt(order_id: int, note: str = "") -> str:
    return f"{order_id} {note}"


@soniq.job(queue="emails")
def called(order_id: int) -> str:
    return str(order_id)


@app.job
async def of_an_app(order_id: int) -> float:
    return float(order_id)


@soniq.job
def with_default(day: str, ctx: soniq.JobContext | None = None) -> str:
    return f"{day} {ctx}"


@soniq.job
def with_context(day: str, ctx: soniq.JobContext) -> str:
    return f"{day} {ctx}"


@shared_task(bind=True, max_retries=2)
def was_celerys(self: Any, order_id: int) -> str:
    return f"{order_id} {self.request.retries}"


@task(max_retries=2)
async def a_task(order_id: int) -> float:
    return float(order_id)


async def use() -> None:
    send_receipt.enqueue(order_id=1)
    send_receipt.enqueue(order="x")  # error
    send_receipt.using(queue="slow").enqueue(order_id="x")  # error
    called.enqueue(order="x")  # error
    await of_an_app.aenqueue(order_id=1)
    assert_type(await of_an_app(1), float)
    assert_type(send_receipt.enqueue(1), str)
    partial(send_receipt.enqueue, order="x")  # error
    with_default.enqueue(day="2026-11-22")
    with_context.enqueue(day="2026-11-22")  # error
    was_celerys.delay(1)
    was_celerys.delay("x")  # error
    assert_type(was_celerys(1), str)
    a_task.enqueue(order_id=1)
    await a_task.aenqueue(order="x")  # error
    a_task.using(queue="slow")  # error
    a_task.using(queue_name="slow").enqueue("x")  # error
    assert_type(a_task.enqueue(1).return_value, float)
