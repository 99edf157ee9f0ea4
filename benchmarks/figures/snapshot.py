"""Draining while another session holds an old snapshot open, as a backup or a report does."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from benchmarks.drain import drain
from benchmarks.figures.base import Cell, Column, Context, Figure, Scale, usual
from benchmarks.peers.base import DatabasePeer

NAMES = ("whole", "fifth_1", "fifth_2", "fifth_3", "fifth_4", "fifth_5", "last_to_first")


def measure(peer: DatabasePeer, context: Context) -> dict[str, float]:
    """The rate of the whole drain and of its fifths."""
    scale = context.scale

    def hold() -> None:
        other.execute("SELECT count(*) FROM pg_class")  # takes the snapshot, and keeps it

    with psycopg.connect(peer.environment["SONIQ_BENCH_DATABASE"]) as other:
        other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        drained = drain(peer, "noop", scale.snapshot_jobs, scale.seconds, before=hold)
        other.rollback()
    rate = context.rate(peer, "old snapshot", drained)
    values = (rate, *drained.fifths, drained.fifths[4] / drained.fifths[0])
    return dict(zip(NAMES, values, strict=True))


def cells(peer: DatabasePeer, context: Context) -> Iterator[Cell]:
    """See :class:`Figure`."""
    yield Cell(NAMES, lambda: measure(peer, context))


def columns(scale: Scale) -> tuple[Column, ...]:
    """See :class:`Figure`."""
    fifths = (Column(f"fifth_{number}", f"fifth {number}") for number in range(1, 6))
    return (Column("whole", "all"), *fifths, Column("last_to_first", "last to first", "ratio"))


def wants(peer: DatabasePeer) -> bool:
    """See :class:`Figure`."""
    return usual(peer) and peer.variant != "batch 10" and peer.name != "celery"


FIGURE = Figure(
    "snapshot",
    "Draining while an old snapshot is open",
    "Sync no-op jobs. Another session's REPEATABLE READ transaction is open all the time, so no dead row "
    "and no dead index entry can be cleaned up.",
    columns,
    wants,
    cells,
)
