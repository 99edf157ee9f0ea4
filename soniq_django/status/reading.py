"""One look at the queue."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from django.db.models import Q

from soniq.registry import Registry
from soniq.settings import Settings
from soniq_django.backend import DjangoBackend
from soniq_django.functions import from_now
from soniq_django.models import Job
from soniq_django.status.depth import CAP, Depth, depths, up_to_cap
from soniq_django.status.records import (
    Count,
    DeadLetters,
    QueueStatus,
    Status,
    Throughput,
    UnknownJobs,
)
from soniq_django.status.schedules import schedules
from soniq_django.status.working import Working, working
from soniq_django.store.errors import translated

WINDOW = 300.0  # seconds over which throughput is told
UNKNOWN_REACH = 1000  # due jobs that are looked at for names that are unknown here


def read_status(backend: DjangoBackend, registry: Registry, settings: Settings) -> Status:
    """Look at everything once. Reads only; what changes meanwhile may be seen in one part and not in another.

    :param registry: names that it does not have are told as unknown
    :raises BackendNotReady: a migration is missing
    :raises BackendUnavailable: the database cannot be reached
    """
    backend.check_ready()
    with translated(backend.alias):
        waiting, more_queues = depths(backend.jobs)
        workers = working(backend, dead_after=settings.dead_after)
        throughput = _throughput(backend, registry, settings)
        letters = _dead_letters(backend)
        repeating, more_schedules = schedules(backend)
    due = backend.overdue(seconds=0.0, limit=UNKNOWN_REACH + 1)
    registry.learn(job.job_name for job in due[:UNKNOWN_REACH])
    unknown: dict[str, list[float]] = {}
    for job in due[:UNKNOWN_REACH]:
        if registry.find(job.job_name) is None:
            unknown.setdefault(job.job_name, []).append(job.overdue)
    return Status(
        database=backend.describe(),
        at=datetime.now(UTC),
        queues=_queues(waiting, workers),
        more_queues=more_queues,
        workers=workers.workers,
        more_workers=workers.more_workers,
        orphans=workers.orphans,
        schedules=repeating,
        more_schedules=more_schedules,
        throughput=throughput,
        dead_letters=letters,
        unknown=tuple(
            UnknownJobs(job_name=name, count=len(ages), oldest=max(ages))
            for name, ages in sorted(unknown.items(), key=lambda item: -max(item[1]))
        ),
        unknown_reach=UNKNOWN_REACH if len(due) > UNKNOWN_REACH else None,
    )


def _queues(waiting: dict[str, Depth], workers: Working) -> tuple[QueueStatus, ...]:
    """All queues in which something waits or runs, by name."""
    nothing = Depth(Count(), Count())
    found = []
    for name in sorted({*waiting, *workers.by_queue}):
        depth = waiting.get(name, nothing)
        found.append(
            QueueStatus(
                name=name,
                due=depth.due,
                delayed=depth.delayed,
                processing=workers.by_queue.get(name, Count()),
                oldest=None if depth.oldest is None else depth.oldest.seconds,
            )
        )
    return tuple(found)


def _throughput(backend: DjangoBackend, registry: Registry, settings: Settings) -> Throughput:
    """What ended lately.

    There is no index by the time a job finished, and it would cost every job. But there is one by the time
    a finished job expires, which is that much later: so for each time to live that jobs have here, the rows
    of the last minutes lie together. Jobs that are deleted as they finish, or kept for ever, are not there.
    """
    options = [task.options.result_ttl for name in registry if (task := registry.find(name)) is not None]
    lives = {settings.result_ttl if ttl is None else ttl for ttl in options} | {settings.result_ttl}
    expiring = Q()
    for ttl in lives:
        if ttl:
            expiring |= Q(expires_at__gt=from_now(ttl - WINDOW), expires_at__lte=from_now(ttl))
    done = None
    if expiring:
        ended = backend.jobs.filter(expiring, finished_at__gt=from_now(-WINDOW))
        done = up_to_cap(ended.filter(status=Job.Status.DONE))
    dead = up_to_cap(backend.dead_letters.filter(moved_to_dead_letter_at__gt=from_now(-WINDOW)))
    return Throughput(seconds=WINDOW, done=done, dead=dead)


def _dead_letters(backend: DjangoBackend) -> DeadLetters:
    newest = backend.dead_letters.order_by("-moved_to_dead_letter_at", "-pk")
    reasons = list(newest.values_list("dead_letter_reason", flat=True)[: CAP + 1])
    capped = len(reasons) > CAP
    return DeadLetters(
        total=Count(min(len(reasons), CAP), capped=capped),
        by_reason=dict(Counter(reasons[:CAP]).most_common()),
    )
