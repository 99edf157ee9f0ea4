"""Jobs that read one row and write one, beside threads and tasks that make the same calls without a queue."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.drain import drain
from benchmarks.figures.base import Cell, Column, Context, Figure, Scale, usual
from benchmarks.peers.base import CONCURRENCY, DatabasePeer, Failed
from benchmarks.processes import run


def measure(peer: DatabasePeer, kind: str, context: Context) -> float:
    """Jobs/s, if each of them left its row."""
    scale = context.scale
    if peer.name == "django":
        return plain(peer, kind, scale.orm_jobs)
    drained = drain(peer, kind, scale.orm_jobs, scale.seconds)
    rows, jobs = peer.effects()
    if jobs < drained.jobs:
        raise Failed(f"{drained.jobs} jobs are said to be done, {jobs} left their row")
    if rows > jobs:
        context.notes.append(f"{peer.label}, {kind} jobs: {rows - jobs} rows were written twice")
    return context.rate(peer, f"{kind} jobs", drained)


def plain(peer: DatabasePeer, kind: str, jobs: int) -> float:
    """The same without a queue."""
    tally = peer.reset(jobs)
    command = ["-m", "benchmarks.tasks", str(jobs), str(CONCURRENCY)]
    if peer.variant != "async":
        command = ["-m", "benchmarks.threads", *command[2:], "async" if kind == "orm_async" else "sync"]
    out = run(command, peer.child_environment)
    if peer.effects() != (jobs, jobs) or tally.ran() != jobs:
        raise Failed(f"{jobs} calls left {peer.effects()[0]} rows")
    return jobs / json.loads(out)["seconds"]


def cells(peer: DatabasePeer, context: Context) -> Iterator[Cell]:
    """See :class:`Figure`."""
    kinds = {"async": "orm_async", "sync": "orm"}
    if peer.label == "django async":
        del kinds["sync"]
    for column, kind in kinds.items():
        yield Cell((column,), lambda column=column, kind=kind: {column: measure(peer, kind, context)})


def columns(scale: Scale) -> tuple[Column, ...]:
    """See :class:`Figure`."""
    return (Column("async", "async jobs"), Column("sync", "sync jobs"))


def wants(peer: DatabasePeer) -> bool:
    """See :class:`Figure`."""
    return (usual(peer) and peer.name != "limit" and peer.variant != "batch 10") or (
        peer.label in {"django create", "django async"}
    )


FIGURE = Figure(
    "orm",
    "Jobs that read and write with the ORM",
    "`django create` is no queue: ten threads of one process that make the same calls, in a plain loop; in "
    "the column of async jobs they await those of the async ORM, by `async_to_sync`. `django async` is none "
    "either: ten tasks of one event loop, each with a thread and a connection of its own, that await them.",
    columns,
    wants,
    cells,
)
