"""Whether a worker grows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.figures.base import Cell, Column, Context, Figure, Scale
from benchmarks.peers.base import DatabasePeer


def measure(peer: DatabasePeer, context: Context) -> dict[str, float]:
    """Resident memory after a tenth of the jobs, and how much more it is after all the others."""
    jobs, patience = context.scale.memory_jobs, context.scale.seconds * 10
    first = max(jobs // 10, 1)
    peer.reset(first + jobs)
    peer.enqueue(0, first, "noop")
    try:
        peer.start_worker()
        peer.wait_done(first, patience)
        time.sleep(context.scale.settle)
        before = _rss(peer)
        peer.enqueue(first, jobs, "noop")
        if not peer.wait_done(first + jobs, patience):
            context.notes.append(f"{peer.label}, memory: not all of {jobs:,} jobs in {patience:g} s")
        time.sleep(context.scale.settle)
        return {"before": before, "growth": _rss(peer) - before}
    finally:
        peer.stop()


def _rss(peer: DatabasePeer) -> float:
    return sum(worker.rss() for worker in peer.workers)


def cells(peer: DatabasePeer, context: Context) -> Iterator[Cell]:
    """See :class:`Figure`."""
    yield Cell(("before", "growth"), lambda: measure(peer, context))


def columns(scale: Scale) -> tuple[Column, ...]:
    """See :class:`Figure`."""
    return (
        Column("before", f"after {scale.memory_jobs // 10:,} jobs", "MiB", more_is_better=False),
        Column("growth", f"growth over {scale.memory_jobs:,} more", "MiB", more_is_better=False),
    )


def wants(peer: DatabasePeer) -> bool:
    """See :class:`Figure`."""
    return peer.label in {"soniq", "limit", "pgqueuer batch 100", "procrastinate"}


FIGURE = Figure(
    "memory",
    "Memory of a worker that runs and runs",
    "Resident set, sync no-op jobs.",
    columns,
    wants,
    cells,
)
