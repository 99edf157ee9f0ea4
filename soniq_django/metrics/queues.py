"""What waits and who is there, read from the database at a bounded price.

A scrape must cost no more when things go wrong and millions of jobs wait. So a queue is counted up to
``COUNTED`` jobs, priority by priority: each statement reads one range of a claim index from its start, and
none walks over delayed or finished jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import connections
from django.db.models import Count, Min, QuerySet, Sum

from soniq import get_default_app
from soniq_django.conf import read_settings
from soniq_django.functions import DatabaseNow, from_now
from soniq_django.models import Job, Worker
from soniq_django.store.errors import translated
from soniq_django.store.tables import Tables

COUNTED = 10_000  # due jobs of one queue
QUEUES = 100  # that are looked at, in order of their names


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue that has waiting jobs."""

    queue: str
    due: int  # jobs that a claim could take now; COUNTED = so many or more
    age: float  # seconds since the first of them, as far as they were counted, became due; 0 without any


@dataclass(frozen=True, slots=True)
class State:
    """What waits, and who is there."""

    queues: list[QueueState]
    workers: int  # that beat lately
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
        queues = list(_queues(tables.jobs.filter(status=Job.Status.QUEUED)))
        workers, slots = _alive(tables.workers, dead_after)
    return State(queues, workers, slots)


def read_state_alone() -> State:
    """:func:`read_state` for a thread that came only to ask: its connections are closed again."""
    try:
        return read_state()
    finally:
        connections.close_all()


def _queues(waiting: QuerySet[Job]) -> Iterator[QueueState]:
    probe = waiting.order_by("queue").values_list("queue", DatabaseNow())
    found = probe.first()
    for _ in range(QUEUES):
        if found is None:
            return
        name, now = found
        yield _state(name, waiting.filter(queue=name), now)
        found = probe.filter(queue__gt=name).first()


def _state(name: str, waiting: QuerySet[Job], now: datetime) -> QueueState:
    count, oldest = 0, now
    levels = waiting.order_by("priority").values_list("priority", flat=True)
    level = levels.first()
    while level is not None and count < COUNTED:
        due = waiting.filter(priority=level, scheduled_at__lte=DatabaseNow())
        first = due.order_by("scheduled_at", "id")[: COUNTED - count]
        summed = first.aggregate(count=Count("pk"), oldest=Min("scheduled_at"))
        count += summed["count"]
        oldest = min(oldest, summed["oldest"] or oldest)
        level = levels.filter(priority__gt=level).first()
    return QueueState(name, count, (now - oldest).total_seconds())


def _alive(workers: QuerySet[Worker], dead_after: float) -> tuple[int, int]:
    alive = workers.filter(last_heartbeat_at__gt=from_now(-dead_after))
    summed = alive.aggregate(workers=Count("pk"), slots=Sum("concurrency"))
    return summed["workers"], summed["slots"] or 0
