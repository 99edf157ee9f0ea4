"""Draining beside many other rows: waiting jobs, delayed ones, finished ones."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.drain import drain
from benchmarks.figures.base import Cell, Column, Context, Figure, Scale, usual
from benchmarks.peers.base import DatabasePeer

KIND = "noop"


def cells(peer: DatabasePeer, context: Context) -> Iterator[Cell]:
    """See :class:`Figure`."""
    scale = context.scale

    def measure(column: str, backlog: int, besides: tuple[str, int] | None) -> dict[str, float]:
        drained = drain(peer, KIND, scale.jobs, scale.seconds, backlog=backlog, besides=besides)
        return {column: context.rate(peer, f"backlog {column}", drained)}

    yield Cell(("empty",), lambda: measure("empty", 0, None))
    for size in scale.backlogs:
        name = f"queued_{size}"
        yield Cell((name,), lambda name=name, size=size: measure(name, size, None))
    big = max(scale.backlogs)
    for state in ("delayed", "finished"):
        yield Cell((state,), lambda state=state: measure(state, 0, (state, big)))


def columns(scale: Scale) -> tuple[Column, ...]:
    """See :class:`Figure`."""
    big = max(scale.backlogs)
    return (
        Column("empty", "nothing else"),
        *(Column(f"queued_{size}", f"{size:,} queued") for size in scale.backlogs),
        Column("delayed", f"{big:,} delayed"),
        Column("finished", f"{big:,} finished"),
    )


def wants(peer: DatabasePeer) -> bool:
    """See :class:`Figure`."""
    return usual(peer) and peer.variant != "batch 10" and peer.name not in {"django-q2", "celery"}


FIGURE = Figure(
    "backlog",
    "Draining beside many other rows",
    "Sync no-op jobs. The other rows are copies, by SQL, of one that the queue's own call stored. "
    "django-q2 and Celery are left out: SQL cannot write their jobs.",
    columns,
    wants,
    cells,
)
