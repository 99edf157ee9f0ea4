"""Enqueueing: one by one with a commit each, one by one in a transaction, and many at once."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures.base import Cell, Column, Context, Figure, Scale, usual
from benchmarks.peers.base import DatabasePeer, Failed, NotRun
from benchmarks.producer import WARM_UP


def measure(peer: DatabasePeer, how: str, count: int) -> float:
    """Jobs/s, if all of them are stored."""
    if how == "transaction" and peer.name == "celery":
        raise NotRun("it has no transactions")
    if how == "bulk" and not peer.bulk:
        raise NotRun("it has no call for many jobs")
    peer.reset(1)
    answer = peer.produce("noop", "timed", how=how, first=0, count=count)
    if (stored := peer.count_stored()) != count + WARM_UP:
        raise Failed(f"{count + WARM_UP} jobs were enqueued, {stored} are stored")
    return count / answer["seconds"]


def cells(peer: DatabasePeer, context: Context) -> Iterator[Cell]:
    """See :class:`Figure`."""
    scale = context.scale
    for how, count in (("singles", scale.singles), ("transaction", scale.singles), ("bulk", scale.bulk)):
        yield Cell((how,), lambda how=how, count=count: {how: measure(peer, how, count)})


def columns(scale: Scale) -> tuple[Column, ...]:
    """See :class:`Figure`."""
    return (
        Column("singles", "one by one"),
        Column("transaction", "one by one in one transaction"),
        Column("bulk", f"{scale.bulk:,} at once"),
    )


def wants(peer: DatabasePeer) -> bool:
    """See :class:`Figure`."""
    if peer.name == "django":
        return peer.variant != "async"
    return usual(peer) and peer.variant != "batch 10"


FIGURE = Figure(
    "enqueue",
    "Enqueueing",
    "One process, one session. `django create` is `Model.objects.create()` and `bulk_create()` of an equal "
    "model, `django raw SQL` one hand-written INSERT through Django's cursor.",
    columns,
    wants,
    cells,
)
