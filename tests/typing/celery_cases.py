"""What mypy must say of tasks that were Celery's. Comments as in cases.py."""

from typing import Any, reveal_type

from soniq_django.celery import AsyncResult, app, shared_task


@shared_task
def bare(order_id: int) -> str:
    return str(order_id)


@shared_task(bind=True, max_retries=5, autoretry_for=(OSError,), retry_backoff=True)
def send_receipt(self: Any, order_id: int) -> str:
    return f"{order_id} after {self.request.retries}"


@app.task(queue="emails")
async def refresh(order_id: int) -> float:
    return float(order_id)


def use() -> None:
    reveal_type(bare.delay(1))  # reveals: soniq_django.celery.result.AsyncResult
    bare.delay("x")  # error: arg-type
    send_receipt.delay(order_id=1)
    send_receipt.delay(order="x")  # error: call-arg
    result: AsyncResult = send_receipt.apply_async(args=[1], countdown=60)
    reveal_type(result.status)  # reveals: str
    reveal_type(send_receipt(1))  # reveals: str
    send_receipt.enqueue(order_id="x")  # error: arg-type
    refresh.using(queue="slow").delay(order_id=1)
    refresh.using(queue="slow").delay(order="x")  # error: call-arg
    bare.delay_on_commit(order="x")  # error: call-arg
    bare.apply_async((1,), queue="slow", priority=5)
    bare.apply_async((1,), count_down=60)  # error: call-arg
    bare.apply_async((1,), expires=60)  # error: call-arg
    send_receipt.enqueue_many([{"order_id": 1}, {"order_id": 2}])
    send_receipt.enqueue_many([{"order_id": "x"}])  # error: typeddict-item
    app.send_task("shop.tasks.bare", args=[1], countdown=60)
    app.send_task("shop.tasks.bare", args=[1], count_down=60)  # error: call-arg


async def awaited() -> None:
    reveal_type(await refresh(1))  # reveals: float
    await refresh.aenqueue(order_id=1)
    await refresh.aenqueue(order="x")  # error: call-arg
