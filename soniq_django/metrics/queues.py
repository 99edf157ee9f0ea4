"""What waits and who is there, for a scrape or an export: at a price that does not grow with what waits."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connections

from soniq import get_default_app
from soniq_django.conf import read_settings
from soniq_django.status.depth import CAP, depths
from soniq_django.status.working import live_workers
from soniq_django.store.errors import translated
from soniq_django.store.tables import Tables

COUNTED = CAP  # jobs of one queue; beyond, a depth says so many


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue in which jobs wait."""

    queue: str
    due: int  # jobs that a claim could take now
    delayed: int  # jobs that wait for their time
    age: float  # seconds for which the first due one has waited; 0 without any


@dataclass(frozen=True, slots=True)
class State:
    """What waits, and who is there."""

    queues: list[QueueState]
    workers: int  # whose heart beat lately
    slots: int  # of all these workers


def read_state(alias: str | None = None, dead_after: float | None = None) -> State:
    """What waits and who is there now, on the calling thread's connection.

    :param alias: the database; None = where the default app keeps its jobs
    :param dead_after: seconds; None = those of the default app
    :raises BackendUnavailable: the database cannot be asked
    """
    tables = Tables(read_settings().database if alias is None else alias)
    if dead_after is None:
        dead_after = get_default_app().settings.dead_after
    with translated(tables.alias):
        waiting, _ = depths(tables.jobs)
        workers = live_workers(tables, dead_after=dead_after)
    queues = [
        QueueState(
            queue,
            depth.due.value,
            depth.delayed.value,
            0.0 if depth.oldest is None else depth.oldest.seconds,
        )
        for queue, depth in waiting.items()
    ]
    return State(queues, len(workers), sum(worker.concurrency for worker in workers))


def read_state_alone() -> State:
    """:func:`read_state` for a thread that came only to ask: its connections are closed again."""
    try:
        return read_state()
    finally:
        connections.close_all()
