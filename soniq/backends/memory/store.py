# ruff: noqa: D102  (the contract documents the methods)
"""The storage contract on dicts.

It is as strict as a database: arguments and results are kept as JSON text, and what a table would
refuse is refused.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, TypeVar

from soniq.backend import StorageBackend, Subscription
from soniq.backends.memory.dead_letters import DeadLetterTable
from soniq.backends.memory.jobs import JobTable
from soniq.backends.memory.schedules import ScheduleTable, jobs_of
from soniq.backends.memory.workers import WorkerTable
from soniq.jobs import Claim, ClaimRequest, JobStatus, NewJob, WorkerInfo
from soniq.records import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterStats,
    Job,
    LiveJobs,
    OverdueJob,
    WorkerRecord,
)
from soniq.schedule_records import Schedule, ScheduleChange, ScheduleFilter
from soniq.transitions import Change

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Subscription:
    """A worker of this process that wants to hear of new jobs."""

    wake: Callable[[str | None], None]
    all: list[_Subscription]
    healthy: bool = True

    def close(self) -> None:
        if self in self.all:
            self.all.remove(self)


class MemoryBackend(StorageBackend):
    """Jobs in dicts; gone with the process. One lock makes each call a transaction."""

    supports_processes = False
    supports_persistence = False
    supports_transactions = False
    blocking = False

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        # Looked up at each call: tools that freeze time in tests put another function there.
        self._clock = clock or (lambda: time.time())  # noqa: PLW0108  # as just said
        self._lock = threading.Lock()
        self._subscriptions: list[_Subscription] = []
        self.reset()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), tz=UTC)

    def _ago(self, seconds: float) -> datetime:
        return self._now() - timedelta(seconds=seconds)

    # -- life of the store

    def describe(self) -> str:
        return "memory of this process"

    def setup(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def release(self) -> None:
        """Nothing to do."""

    def reset(self) -> None:
        with self._lock:
            self._jobs = JobTable()
            self._dead_letters = DeadLetterTable()
            self._workers = WorkerTable()
            self._schedules = ScheduleTable()

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)

    # -- producing

    def enqueue(self, jobs: Iterable[NewJob]) -> list[str]:
        complete = list(jobs)  # a generator that raises leaves nothing stored
        with self._lock:
            ids = self._jobs.add_all(complete, self._now())
        for queue in {job.queue for job in complete}:
            self._wake(queue)
        return ids

    def subscribe(
        self, wake: Callable[[str | None], None], lost: Callable[[str], None] | None = None
    ) -> Subscription:
        subscription = _Subscription(wake, self._subscriptions)
        self._subscriptions.append(subscription)
        return subscription

    def _wake(self, queue: str | None) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.wake(queue)

    # -- consuming

    def claim(self, request: ClaimRequest) -> list[Claim]:
        with self._lock:
            return [row.claim() for row in self._jobs.claim(request, self._now())]

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        with self._lock:
            now = self._now()
            answers = [self._apply(change, now) for change in changes]
        if any(change.sooner for change in changes):
            self._wake(None)
        return answers

    def _apply(self, change: Change, now: datetime) -> bool:
        row = self._jobs.apply(change, now)
        if row is None:
            return False
        if change.status is None:
            assert change.reason is not None  # noqa: S101  # dead letters have one
            self._dead_letters.bury(row, change.reason, now)
        return True

    def count_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> int:
        with self._lock:
            now = self._now()
            return sum(row.scheduled_at <= now for row in self._jobs.queued(queues, names))

    def next_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> float | None:
        with self._lock:
            due = min((row.scheduled_at for row in self._jobs.queued(queues, names)), default=None)
            return None if due is None else (due - self._now()).total_seconds()

    def overdue(
        self, *, seconds: float, limit: int, queues: Collection[str] | None = None
    ) -> list[OverdueJob]:
        with self._lock:
            now = self._now()
            since = now - timedelta(seconds=seconds)
            late = (row for row in self._jobs.queued(queues, None) if row.scheduled_at <= since)
            return [
                OverdueJob(
                    job_id=row.new.id,
                    job_name=row.new.job_name,
                    queue=row.new.queue,
                    overdue=(now - row.scheduled_at).total_seconds(),
                )
                for row in heapq.nsmallest(max(limit, 0), late, key=lambda row: row.claim_order)
            ]

    # -- liveness

    def register(self, worker: WorkerInfo) -> None:
        with self._lock:
            self._workers.register(worker, self._now())

    def beat(self, worker_id: str) -> bool:
        with self._lock:
            return self._workers.beat(worker_id, self._now())

    def deregister(self, worker_id: str) -> None:
        with self._lock:
            self._workers.forget([worker_id])

    def orphans(self, *, dead_after: float, limit: int) -> list[Claim]:
        with self._lock:
            living = self._workers.living_since(self._ago(dead_after))
            lost = [row for row in self._jobs.of(JobStatus.PROCESSING) if row.worker_id not in living]
            return [row.claim() for row in sorted(lost, key=lambda row: row.new.id)[:limit]]

    def held(self, worker_id: str) -> list[Claim]:
        with self._lock:
            held = [row for row in self._jobs.of(JobStatus.PROCESSING) if row.worker_id == worker_id]
            return [row.claim() for row in sorted(held, key=lambda row: row.new.id)]

    def forget_workers(self, *, dead_after: float) -> int:
        with self._lock:
            holding = {row.worker_id for row in self._jobs.of(JobStatus.PROCESSING)}
            forgotten = self._workers.silent_since(self._ago(dead_after)) - holding
            self._workers.forget(forgotten)
            return len(forgotten)

    def list_workers(self) -> list[WorkerRecord]:
        with self._lock:
            return self._workers.oldest_first()

    # -- reading and housekeeping

    def get_job(self, job_id: str) -> Job | None:
        with self._lock:
            row = self._jobs.get(job_id)
            return None if row is None else row.job()

    def list_jobs(
        self,
        *,
        queue: str | None = None,
        status: JobStatus | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Job]:
        with self._lock:
            rows = self._jobs.all() if status is None else self._jobs.of(status)
            found = [row for row in rows if queue is None or row.new.queue == queue]
            found.sort(key=lambda row: row.new.id, reverse=True)
            return [row.job() for row in found[offset : offset + limit]]

    def count_live(self) -> list[LiveJobs]:
        with self._lock:
            groups: dict[tuple[str, str, JobStatus], list[datetime]] = {}
            for row in self._jobs.live():
                groups.setdefault((row.new.job_name, row.new.queue, row.status), []).append(row.created_at)
            return [
                LiveJobs(job_name=name, queue=queue, status=status, count=len(ages), oldest=min(ages))
                for (name, queue, status), ages in sorted(groups.items(), key=lambda group: group[0])
            ]

    def walk_live(self, *, after: str | None = None, limit: int) -> list[Job]:
        with self._lock:
            behind = (row for row in self._jobs.live() if after is None or row.new.id > after)
            return [row.job() for row in heapq.nsmallest(limit, behind, key=lambda row: row.new.id)]

    def delete_job(self, job_id: str) -> bool:
        with self._lock:
            row = self._jobs.get(job_id)
            if row is None:
                return False
            self._jobs.delete(row)
            return True

    def queue_stats(self) -> dict[str, int]:
        with self._lock:
            stats = {**self._jobs.counts(), "dead_letter": len(self._dead_letters)}
            return {**stats, "total": sum(stats.values())}

    def purge(self, *, limit: int, dead_letter_ttl: float | None = None) -> int:
        with self._lock:
            now = self._now()
            past = [row for row in self._jobs.all() if row.expires_at and row.expires_at <= now][:limit]
            for row in past:
                self._jobs.delete(row)
            if dead_letter_ttl is None:
                return len(past)
            oldest = now - timedelta(seconds=dead_letter_ttl)
            return len(past) + self._dead_letters.purge(oldest, limit)

    # -- dead letters

    def list_dead_letters(self, where: DeadLetterFilter) -> list[DeadLetter]:
        with self._lock:
            return self._dead_letters.find(where)

    def delete_dead_letters(self, where: DeadLetterFilter) -> int:
        with self._lock:
            return self._dead_letters.delete(where)

    def replay_dead_letter(self, dead_letter_id: str, job: NewJob) -> str | None:
        with self._lock:
            if dead_letter_id not in self._dead_letters:
                return None
            [job_id] = self._jobs.add_all([job], self._now())
            if job_id == job.id:
                self._dead_letters.count_resurrection(dead_letter_id, self._now())
            return job_id

    def tag_dead_letter(self, dead_letter_id: str, tags: Sequence[str]) -> bool:
        with self._lock:
            return self._dead_letters.tag(dead_letter_id, tags)

    def dead_letter_stats(self, *, hours: float | None = None) -> DeadLetterStats:
        with self._lock:
            return self._dead_letters.stats(None if hours is None else self._ago(hours * 3600))

    # -- schedules

    def now(self) -> datetime:
        return self._now()

    def list_schedules(self, names: Collection[str] | None = None) -> list[Schedule]:
        with self._lock:
            return self._schedules.named(names)

    def due_schedules(self, where: ScheduleFilter, *, limit: int) -> list[Schedule]:
        with self._lock:
            return self._schedules.due(where, self._now(), limit)

    def upcoming_schedules(self, where: ScheduleFilter) -> float | None:
        with self._lock:
            due = self._schedules.next_due(where)
            return None if due is None else (due - self._now()).total_seconds()

    def write_schedules(self, changes: Sequence[ScheduleChange]) -> list[list[str] | None]:
        with self._lock:
            holding = self._schedules.holding(changes)
            jobs = jobs_of(changes, holding)
            ids = iter(self._jobs.add_all(jobs, self._now()))
            answers: list[list[str] | None] = []
            for change, holds in zip(changes, holding, strict=True):
                stored = [next(ids) for _ in change.jobs] if holds else None
                if stored is not None:
                    self._schedules.write(change, stored)
                answers.append(stored)
        for queue in {job.queue for job in jobs}:
            self._wake(queue)
        return answers
