"""What a figure is: columns, and for each peer the cells that fill them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.drain import Drained
from benchmarks.peers.base import DatabasePeer


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    jobs: int = 20_000  # per drain
    seconds: float = 60  # after which a drain is cut
    singles: int = 2_000  # enqueued one by one
    bulk: int = 10_000  # enqueued at once
    session_jobs: int = 100  # by each of the concurrent sessions
    orm_jobs: int = 10_000
    latencies: int = 200
    backlogs: tuple[int, ...] = (100_000, 1_000_000)
    snapshot_jobs: int = 200_000
    memory_jobs: int = 200_000
    idle_seconds: float = 30
    settle: float = 3  # seconds for a worker to come to rest


QUICK = Scale(
    jobs=2_000,
    seconds=10,
    singles=100,
    bulk=1_000,
    session_jobs=5,
    orm_jobs=200,
    latencies=20,
    backlogs=(10_000,),
    snapshot_jobs=2_000,
    memory_jobs=2_000,
    idle_seconds=3,
    settle=1,
)


@dataclass(frozen=True)
class Column:
    """One number per peer."""

    name: str
    title: str
    unit: str = "jobs/s"
    more_is_better: bool = True


@dataclass
class Context:
    """What measuring needs besides the peer."""

    scale: Scale
    notes: list[str] = field(default_factory=list)  # what a reader should know about a number

    def rate(self, peer: DatabasePeer, what: str, drained: Drained) -> float:
        """The drain's rate, with a note of what was not as it should be."""
        if drained.cut:
            self.notes.append(f"{peer.label}, {what}: cut off by time after {drained.jobs:,} jobs")
        if drained.repeated:
            self.notes.append(f"{peer.label}, {what}: {drained.repeated:,} jobs ran more than once")
        return drained.rate


@dataclass(frozen=True)
class Cell:
    """One measurement, which fills one or more columns."""

    columns: tuple[str, ...]
    run: Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Figure:
    """One table of the report.

    :param wants: whether it measures this peer, in this variant
    :param cells: what to measure of one peer in one round
    """

    name: str
    title: str
    about: str
    columns: Callable[[Scale], tuple[Column, ...]]
    wants: Callable[[DatabasePeer], bool]
    cells: Callable[[DatabasePeer, Context], Iterator[Cell]]


def usual(peer: DatabasePeer) -> bool:
    """Peers as they are usually set up."""
    return peer.label in {
        "soniq",
        "limit",
        "pgqueuer batch 100",
        "pgqueuer batch 10",
        "procrastinate",
        "django-tasks-db",
        "django-q2",
        "celery",
    }
