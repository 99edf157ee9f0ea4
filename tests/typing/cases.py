"""What mypy must say of calls that enqueue. Never run: test_typing reads the comments.

`# error: CODE` marks a line that must be rejected, `# reveals: TYPE` what reveal_type must say; all others
must pass.
"""

from functools import partial
from typing import reveal_type

import soniq

app = soniq.Soniq(backend="memory")


@soniq.job
def bare(order_id: int) -> str:
    return str(order_id)


@soniq.job(queue="emails", max_retries=5)
def send_receipt(order_id: int, ctx: soniq.JobContext) -> str:
    return f"{order_id} in attempt {ctx.attempt}"


@soniq.job
def leading(ctx: soniq.JobContext, order_id: int, note: str = "") -> None: ...


@app.job
async def of_an_app(order_id: int, *, ctx: soniq.JobContext) -> float:
    return float(order_id)


@app.job(queue="emails")
def maybe(order_id: int, ctx: soniq.JobContext | None = None) -> None: ...


def enqueue() -> None:
    bare.enqueue(order_id=1)
    bare.enqueue(order_id="x")  # error: arg-type
    send_receipt.enqueue(order_id=1)
    send_receipt.enqueue(1)
    send_receipt.enqueue(order="x")  # error: call-arg
    send_receipt.enqueue(order_id="x")  # error: arg-type
    send_receipt.enqueue()  # error: call-arg
    send_receipt.enqueue(order_id=1, ctx=None)  # error: call-arg
    leading.enqueue(1, note="new")
    leading.enqueue(order_id=1, nte="new")  # error: call-arg
    maybe.enqueue(order_id=1)
    reveal_type(send_receipt.enqueue(order_id=1))  # reveals: str
    reveal_type(send_receipt.enqueue)  # reveals: def (order_id: int) -> str


def with_options() -> None:
    later = send_receipt.using(queue="slow", scheduled_at=60)
    later.enqueue(order_id=1)
    later.enqueue(order="x")  # error: call-arg
    send_receipt.using(queu="slow")  # error: call-arg
    later.using(priority=1).enqueue(order_id="x")  # error: arg-type


def hand_on() -> None:
    call_back = partial(send_receipt.enqueue, order_id=1)
    reveal_type(call_back())  # reveals: str
    partial(send_receipt.enqueue, order="x")  # error: call-arg


def many(order_ids: list[int], rows: list[dict[str, int]]) -> None:
    send_receipt.enqueue_many([{"order_id": 1}, {"order_id": 2}])
    send_receipt.enqueue_many({"order_id": order_id} for order_id in order_ids)
    send_receipt.enqueue_many(rows)
    send_receipt.enqueue_many([{"order_id": "x"}])  # error: typeddict-item
    send_receipt.enqueue_many([{"order": 1}])  # error: typeddict-item
    send_receipt.enqueue_many({"order": order_id} for order_id in order_ids)  # error: typeddict-item
    send_receipt.enqueue_many("order")  # error: arg-type
    reveal_type(leading.enqueue_many([{"order_id": 1}, {"order_id": 2, "note": "x"}]))  # reveals: list[str]


async def awaited() -> None:
    await of_an_app.aenqueue(order_id=1)
    await of_an_app.aenqueue(order="x")  # error: call-arg
    await send_receipt.aenqueue_many([{"order_id": 1}])
    await send_receipt.aenqueue_many([{"order_id": "x"}])  # error: typeddict-item
    reveal_type(await bare.aenqueue(order_id=1))  # reveals: str


async def through_the_app(name: str, some: soniq.Task[..., object]) -> None:
    await app.enqueue(send_receipt, order_id=1, queue="slow")
    await app.enqueue(send_receipt, args={"order_id": 1})
    await app.enqueue(send_receipt, order="x")  # error: call-arg
    await app.enqueue(send_receipt, order_id="x")  # error: arg-type
    await app.enqueue(send_receipt)  # error: call-arg
    await app.enqueue(send_receipt, order_id=1, priority="high")  # error: arg-type
    await app.enqueue(name, whatever=1)
    await app.enqueue(some, whatever=1)
    await app.enqueue(soniq.TaskRef(name="shop.send_receipt"), whatever=1)
    await app.schedule(of_an_app, 60, order_id=1)
    await app.schedule(of_an_app, 60, order="x")  # error: call-arg
    await app.enqueue_many(send_receipt, [{"order_id": 1}])
    await app.enqueue_many(send_receipt, [{"order_id": "x"}])  # error: typeddict-item
    reveal_type(await app.enqueue(send_receipt, order_id=1))  # reveals: str


class OurSoniq(soniq.Soniq):
    """A project's own."""


ours = OurSoniq(backend="memory")


@ours.job()
def of_ours(ctx: soniq.JobContext, order_id: int) -> None: ...


async def of_a_subclass() -> None:
    of_ours.enqueue(order_id=1)
    await ours.enqueue(of_ours, order_id="x")  # error: arg-type


async def called(ctx: soniq.JobContext) -> None:
    reveal_type(bare(order_id=1))  # reveals: str
    reveal_type(send_receipt(1, ctx))  # reveals: str
    send_receipt(1)  # error: call-arg
    reveal_type(await of_an_app(1, ctx=ctx))  # reveals: float
    maybe(1)


@soniq.job(que="emails")  # error: call-overload
def unknown_option() -> None: ...


@soniq.periodic(cron="0 3 * * *", timezone="Europe/Berlin", args={"order_id": 1}, queue="emails")
def nightly(order_id: int, ctx: soniq.JobContext) -> str:
    return f"{order_id} for {ctx.scheduled_for}"


@app.periodic(every=soniq.every(5).minutes(), overlap="skip")
async def often() -> None: ...


@soniq.periodic(cron=soniq.daily().at("09:00"))
@soniq.job(queue="emails")
def twice(order_id: int = 1) -> None: ...


async def scheduled() -> None:
    nightly.enqueue(order_id=1)
    nightly.enqueue(order_id="x")  # error: arg-type
    reveal_type(nightly.enqueue)  # reveals: def (order_id: int) -> str
    often.enqueue()
    often.enqueue(1)  # error: call-arg
    twice.enqueue(order_id=2)
    twice.enqueue(order="x")  # error: call-arg
    await app.scheduler.add(bare, cron="0 3 * * *", args={"order_id": 1})
    await app.scheduler.add(bare, cron="0 3 * * *", args={"order_id": "x"})  # error: typeddict-item
    await app.scheduler.add(bare, cron="0 3 * * *", args={"order": 1})  # error: typeddict-item
    await app.scheduler.add(send_receipt, every=60, args={"order_id": 1}, name="receipts")
    await app.scheduler.add(bare, crn="0 3 * * *")  # error: call-arg
    await app.scheduler.add("some.job", cron="0 3 * * *", args={"anything": 1})
    app.scheduler.add_now(bare, every=60, args={"order_id": None})  # error: typeddict-item
    soniq.periodic(cron=5)  # error: arg-type
