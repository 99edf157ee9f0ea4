"""How much waits, queue by queue and priority by priority.

In this order each count is one range of the index ``soniq_jobs_claim_queue``: due jobs come before delayed
ones there. As one statement over a whole queue it would walk through all delayed jobs to find no due one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from soniq_django.functions import DatabaseNow
from soniq_django.models import Job
from soniq_django.status.records import Count

CAP = 10_000  # jobs that are counted of one queue, due and delayed ones each
MOST_LEVELS = 300  # pairs of queue and priority that are looked at


@dataclass(frozen=True, slots=True)
class Late:
    """The due job that has waited longest."""

    seconds: float
    job_name: str
    queue: str


@dataclass(slots=True)
class Depth:
    """What waits in one queue."""

    due: Count
    delayed: Count
    oldest: Late | None = None


@dataclass(frozen=True, slots=True)
class _Level:
    """The jobs that wait in one queue with one priority."""

    queue: str
    jobs: QuerySet[Job]


def depths(jobs: QuerySet[Job]) -> tuple[dict[str, Depth], bool]:
    """Of each queue in which jobs wait; and whether there is more than was looked at."""
    found: dict[str, Depth] = {}
    levels = _levels(jobs, None)
    for number, level in enumerate(levels):
        if number == MOST_LEVELS:
            return found, True
        depth = found.setdefault(level.queue, Depth(Count(), Count()))
        depth.due = _more(depth.due, level.jobs.filter(scheduled_at__lte=DatabaseNow()))
        depth.delayed = _more(depth.delayed, level.jobs.filter(scheduled_at__gt=DatabaseNow()))
        depth.oldest = _older(depth.oldest, _first_due(level))
    return found, False


def oldest_due(jobs: QuerySet[Job], queues: Collection[str] | None = None) -> Late | None:
    """The due job that has waited longest, in these queues; None = in all."""
    oldest = None
    for number, level in enumerate(_levels(jobs, queues)):
        if number == MOST_LEVELS:
            break
        oldest = _older(oldest, _first_due(level))
    return oldest


def up_to_cap(rows: QuerySet[Any], cap: int | None = None) -> Count:
    """How many rows there are; counted no further than ``cap`` (:data:`CAP`)."""
    cap = CAP if cap is None else cap
    count = rows.order_by().values("pk")[: cap + 1].count()
    return Count(min(count, cap), capped=count > cap)


def _more(counted: Count, rows: QuerySet[Any]) -> Count:
    """What was counted, and these; no further than the cap of all together."""
    return counted if counted.capped else counted + up_to_cap(rows, CAP - counted.value)


def _levels(jobs: QuerySet[Job], queues: Collection[str] | None) -> Iterator[_Level]:
    """Each queue and priority with jobs that wait; found by steps along the index."""
    queued = jobs.filter(status=Job.Status.QUEUED)
    for queue in _steps(queued, "queue") if queues is None else dict.fromkeys(queues):
        of_queue = queued.filter(queue=queue)
        for priority in _steps(of_queue, "priority"):
            yield _Level(queue, of_queue.filter(priority=priority))


def _steps(rows: QuerySet[Job], column: str) -> Iterator[Any]:
    """The values of a column, in order; each costs one look-up."""
    values = rows.order_by(column).values_list(column, flat=True)
    value = values.first()
    while value is not None:
        yield value
        value = values.filter(**{f"{column}__gt": value}).first()


def _first_due(level: _Level) -> Late | None:
    due = level.jobs.filter(scheduled_at__lte=DatabaseNow()).order_by("scheduled_at", "id")
    for since, name, now in due.values_list("scheduled_at", "job_name", DatabaseNow())[:1]:
        return Late(max((now - since).total_seconds(), 0.0), name, level.queue)
    return None


def _older(one: Late | None, other: Late | None) -> Late | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda late: late.seconds)
