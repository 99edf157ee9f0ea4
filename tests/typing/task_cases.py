"""What mypy must say of tasks of Django's Tasks. Comments as in cases.py."""

from datetime import timedelta
from typing import Any, reveal_type

from django.tasks import TaskContext
from django.tasks import task as plain_task

import soniq
from soniq_django.tasks import task


@task
def bare(order_id: int) -> str:
    return str(order_id)


@task(queue_name="emails", max_retries=5, retry_on=(OSError,))
async def send_receipt(order_id: int, note: str = "") -> float:
    return float(order_id)


@task(takes_context=True, retry_backoff=True)
def in_context(context: TaskContext[Any, Any], order_id: int) -> str:
    return f"{order_id} in attempt {context.attempt}"


@task(takes_context=True)
async def async_in_context(context: TaskContext[Any, Any], order_id: int) -> None: ...


@plain_task(queue_name="emails")
def of_djangos_decorator(order_id: int) -> str:
    return str(order_id)


def enqueue() -> None:
    bare.enqueue(order_id=1)
    bare.enqueue(1)
    bare.enqueue(order="x")  # error: call-arg
    bare.enqueue("x")  # error: arg-type
    send_receipt.enqueue(1, note="new")
    send_receipt.enqueue(1, nte="new")  # error: call-arg
    in_context.enqueue(order_id=1)
    in_context.enqueue(order="x")  # error: call-arg
    async_in_context.enqueue(order_id="x")  # error: arg-type
    of_djangos_decorator.enqueue(order_id=1)
    of_djangos_decorator.enqueue(order="x")  # error: call-arg
    reveal_type(bare.enqueue(1).return_value)  # reveals: str
    reveal_type(send_receipt.enqueue(1).return_value)  # reveals: float
    reveal_type(in_context.get_result("1").return_value)  # reveals: str
    reveal_type(bare.call(1))  # reveals: str


def with_options() -> None:
    later = bare.using(run_after=timedelta(hours=1), priority=5, max_retries=1)
    later.enqueue(order_id=1)
    later.enqueue(order="x")  # error: call-arg
    bare.using(queue="slow")  # error: call-arg
    of_djangos_decorator.using(priority=1).enqueue(order="x")  # error: call-arg


async def awaited() -> None:
    await bare.aenqueue(order_id=1)
    await bare.aenqueue(order="x")  # error: call-arg
    reveal_type(await send_receipt.acall(1))  # reveals: float
    reveal_type((await send_receipt.aenqueue(1)).return_value)  # reveals: float


@soniq.periodic(cron="0 3 * * *", args={"order_id": 1})
@task(queue_name="emails")
def nightly(order_id: int) -> str:
    return str(order_id)


async def schedule(app: soniq.Soniq) -> None:
    nightly.enqueue(order_id=1)
    nightly.enqueue(order="x")  # error: call-arg
    await app.scheduler.add(bare, every=60, args={"order_id": 1})
