"""Draining no-op jobs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.drain import drain
from benchmarks.figures.base import Cell, Column, Context, Figure, Scale, usual
from benchmarks.peers.base import DatabasePeer

COLUMNS = (
    Column("async", "async jobs"),
    Column("sync", "sync jobs"),
    Column("async_2", "async jobs, 2 processes"),
    Column("sync_2", "sync jobs, 2 processes"),
)


def cells(peer: DatabasePeer, context: Context) -> Iterator[Cell]:
    """See :class:`Figure`."""
    for column, kind, processes in (
        ("async", "noop_async", 1),
        ("sync", "noop", 1),
        ("async_2", "noop_async", 2),
        ("sync_2", "noop", 2),
    ):

        def run(column: str = column, kind: str = kind, processes: int = processes) -> dict[str, float]:
            scale = context.scale
            jobs = scale.jobs * processes
            drained = drain(peer, kind, jobs, scale.seconds, processes=processes)
            return {column: context.rate(peer, f"drain {column}", drained)}

        yield Cell((column,), run)


def columns(scale: Scale) -> tuple[Column, ...]:
    """See :class:`Figure`."""
    return COLUMNS


def wants(peer: DatabasePeer) -> bool:
    """See :class:`Figure`."""
    return usual(peer) or peer.label in {"limit batch 10", "limit batch 1"}


FIGURE = Figure(
    "drain",
    "Draining no-op jobs",
    "Jobs that do nothing, twice as many for two processes. "
    "The limit script calls a plain function for both kinds.",
    columns,
    wants,
    cells,
)
