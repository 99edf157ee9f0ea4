"""Who works, and on what."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from soniq_django.functions import DatabaseNow
from soniq_django.models import Job
from soniq_django.status.records import Count, RunningJob, WorkerStatus
from soniq_django.store.tables import Tables

REACH = 5_000  # jobs in processing that are looked at
MOST_WORKERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """The workers, and what is being processed."""

    workers: tuple[WorkerStatus, ...]
    more_workers: bool
    by_queue: Mapping[str, Count]  # jobs in processing
    orphans: Count


def working(tables: Tables, *, dead_after: float) -> Working:
    """All workers, the oldest first, each with the jobs that it holds."""
    held, capped = _held(tables)
    by_worker: dict[str, list[RunningJob]] = defaultdict(list)
    queues: Counter[str] = Counter()
    for worker_id, queue, job in held:
        by_worker[worker_id].append(job)
        queues[queue] += 1
    workers, more = _workers(tables, dead_after, by_worker)
    known = {worker.id for worker in workers}
    orphans = 0 if more else sum(len(jobs) for key, jobs in by_worker.items() if key not in known)
    return Working(
        workers=workers,
        more_workers=more,
        by_queue={queue: Count(count, capped=capped) for queue, count in queues.items()},
        orphans=Count(orphans, capped=capped and orphans > 0),
    )


def live_workers(tables: Tables, *, dead_after: float) -> list[WorkerStatus]:
    """The workers that are heard of, without what they run."""
    return [worker for worker in _workers(tables, dead_after, {})[0] if worker.live]


def _held(tables: Tables) -> tuple[list[tuple[str, str, RunningJob]], bool]:
    """Jobs in processing with their worker and queue; and whether there are more."""
    rows = tables.jobs.filter(status=Job.Status.PROCESSING).order_by()
    found = list(
        rows.values_list("worker_id", "queue", "id", "job_name", "started_at", DatabaseNow())[: REACH + 1]
    )
    held = [
        (
            str(worker),
            queue,
            RunningJob(id=str(pk), job_name=name, seconds=_seconds(started, now)),
        )
        for worker, queue, pk, name, started, now in found[:REACH]
    ]
    return held, len(found) > REACH


def _workers(
    tables: Tables, dead_after: float, jobs: Mapping[str, list[RunningJob]]
) -> tuple[tuple[WorkerStatus, ...], bool]:
    found = list(tables.workers.order_by("started_at", "pk").annotate(now=DatabaseNow())[: MOST_WORKERS + 1])
    workers = []
    for row in found[:MOST_WORKERS]:
        silent = _seconds(row.last_heartbeat_at, row.now) or 0.0
        held = sorted(jobs.get(str(row.pk), []), key=lambda job: -(job.seconds or 0.0))
        workers.append(
            WorkerStatus(
                id=str(row.pk),
                hostname=row.hostname,
                pid=row.pid,
                concurrency=row.concurrency,
                queues=None if row.queues is None else tuple(row.queues),
                silent=silent,
                live=silent < dead_after,
                jobs=tuple(held),
            )
        )
    return tuple(workers), len(found) > MOST_WORKERS


def _seconds(since: Any, now: Any) -> float | None:
    return None if since is None else max((now - since).total_seconds(), 0.0)
