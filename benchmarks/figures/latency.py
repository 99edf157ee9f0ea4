"""How long a single job waits for an idle worker."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from benchmarks.figures.base import Cell, Column, Context, Figure, Scale, usual
from benchmarks.peers.base import DatabasePeer, Failed

LONGEST = 30.0  # seconds, for those who poll


def measure(peer: DatabasePeer, context: Context) -> dict[str, float]:
    """Percentiles in ms, from the call that enqueues to the job's own code."""
    wanted = context.scale.latencies
    kind = "stamp_async" if peer.asynchronous and peer.name != "django-tasks-db" else "stamp"
    peer.reset(wanted)
    try:
        peer.start_worker()
        time.sleep(context.scale.settle)
        peer.check()
        limit = min(LONGEST, context.scale.seconds)
        found = peer.produce(kind, "latencies", count=wanted, seconds=limit)["latencies"]
        if len(found) < 3:
            raise Failed(f"only {len(found)} jobs were picked up within {limit:g} s")
        peer.wait_done(len(found), 5)
    finally:
        peer.stop()
    if len(found) < wanted:
        context.notes.append(f"{peer.label}, latency: {len(found)} jobs in {limit:g} s, not {wanted}")
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    return {"p50": cuts[49] * 1000, "p95": cuts[94] * 1000, "p99": cuts[98] * 1000}


def cells(peer: DatabasePeer, context: Context) -> Iterator[Cell]:
    """See :class:`Figure`."""
    yield Cell(("p50", "p95", "p99"), lambda: measure(peer, context))


def columns(scale: Scale) -> tuple[Column, ...]:
    """See :class:`Figure`."""
    return tuple(Column(name, name, "ms", more_is_better=False) for name in ("p50", "p95", "p99"))


def wants(peer: DatabasePeer) -> bool:
    """See :class:`Figure`."""
    return usual(peer) and peer.variant != "batch 10"


FIGURE = Figure(
    "latency",
    "From enqueueing to the job's own code",
    "Single jobs for an idle worker, each enqueued after the one before has run; async jobs where there are.",
    columns,
    wants,
    cells,
)
