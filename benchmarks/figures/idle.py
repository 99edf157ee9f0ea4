"""What a worker costs that has nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.figures.base import Cell, Column, Context, Figure, Scale, usual
from benchmarks.peers.base import DatabasePeer

WARM_UP = 20  # jobs, so that all threads and connections it keeps are there


def measure(peer: DatabasePeer, context: Context) -> dict[str, float]:
    """Per second, after it has run a few jobs and come to rest."""
    server, seconds = peer.server, context.scale.idle_seconds
    own = {"log_statement": "all"} if server.own else {}
    peer.reset(WARM_UP)
    peer.enqueue(0, WARM_UP, "noop")
    with server.settings(peer.database, **own):
        try:
            peer.start_worker()
            peer.wait_done(WARM_UP, context.scale.seconds)
            time.sleep(context.scale.settle)
            log, cpu, begun = server.log_size(), _cpu(peer), time.monotonic()
            transactions = server.transactions(peer.database)
            time.sleep(seconds)
            passed = time.monotonic() - begun
            statements = server.statements_logged(log)
            found = {
                "transactions": (server.transactions(peer.database) - transactions) / passed,
                "cpu": (_cpu(peer) - cpu) / passed * 100,
                "connections": float(server.connections(peer.database) - 1),  # ours
                "memory": sum(worker.rss() for worker in peer.workers),
            }
            if statements is not None:
                found["statements"] = statements / passed
        finally:
            peer.stop()
    return found


def _cpu(peer: DatabasePeer) -> float:
    return sum(worker.cpu_seconds() for worker in peer.workers)


def cells(peer: DatabasePeer, context: Context) -> Iterator[Cell]:
    """See :class:`Figure`."""
    names = tuple(column.name for column in columns(context.scale))
    yield Cell(names, lambda: measure(peer, context))


def columns(scale: Scale) -> tuple[Column, ...]:
    """See :class:`Figure`."""
    return (
        Column("statements", "statements", "1/s", more_is_better=False),
        Column("transactions", "transactions", "1/s", more_is_better=False),
        Column("cpu", "processor", "%", more_is_better=False),
        Column("connections", "connections", "", more_is_better=False),
        Column("memory", "memory", "MiB", more_is_better=False),
    )


def wants(peer: DatabasePeer) -> bool:
    """See :class:`Figure`."""
    return usual(peer) and peer.variant != "batch 10"


FIGURE = Figure(
    "idle",
    "A worker with nothing to do",
    "At concurrency 10, after a few jobs. Statements are those in the server's log; memory is the sum of "
    "all its processes' resident sets.",
    columns,
    wants,
    cells,
)
