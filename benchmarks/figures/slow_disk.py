"""Enqueueing and draining with 1 ms more per flush, as on a common cloud disk."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.drain import drain
from benchmarks.figures.base import Cell, Column, Context, Figure, Scale, usual
from benchmarks.figures.enqueue import measure as enqueue
from benchmarks.peers.base import DatabasePeer


def cells(peer: DatabasePeer, context: Context) -> Iterator[Cell]:
    """See :class:`Figure`."""
    scale = context.scale

    def slow(column: str, kind: str | None) -> dict[str, float]:
        with peer.server.settings(peer.database, commit_delay=1000, commit_siblings=0):
            if kind is None:
                return {column: enqueue(peer, "singles", max(scale.singles // 4, 50))}
            drained = drain(peer, kind, scale.jobs, scale.seconds)
            return {column: context.rate(peer, f"slow disk {column}", drained)}

    for column, kind in (("enqueue", None), ("async", "noop_async"), ("sync", "noop")):
        yield Cell((column,), lambda column=column, kind=kind: slow(column, kind))


def columns(scale: Scale) -> tuple[Column, ...]:
    """See :class:`Figure`."""
    return (
        Column("enqueue", "enqueue one by one"),
        Column("async", "drain async"),
        Column("sync", "drain sync"),
    )


def wants(peer: DatabasePeer) -> bool:
    """See :class:`Figure`."""
    return usual(peer) and peer.variant != "batch 10" and peer.name != "celery"


FIGURE = Figure(
    "slow_disk",
    "With every flush 1 ms slower",
    "`commit_delay = 1000`, `commit_siblings = 0`. Celery is left out: Redis flushes nothing here.",
    columns,
    wants,
    cells,
)
