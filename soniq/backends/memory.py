# ruff: noqa: D102  (the contract documents the methods)
"""A store of dicts under one lock, for tests and for trying things out.

It is as strict as a database: arguments and results are kept as JSON text, and what a table would
refuse is refused.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, TypeVar

from soniq.backend import StorageBackend, Subscription
from soniq.backends.stored import decoded, failed_attempts, with_failure
from soniq.errors import BackendError
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
from soniq.transitions import Change

P = ParamSpec("P")
T = TypeVar("T")

REQUIRED = ("id", "job_name", "args_json", "queue", "priority", "max_attempts")


@dataclass(slots=True)
class _Row:
    """A job: what was enqueued, and its state."""

    new: NewJob
    created_at: datetime
    updated_at: datetime
    scheduled_at: datetime
    unique_key: str | None
    status: JobStatus = JobStatus.QUEUED
    attempts: int = 0
    crashes: int = 0
    worker_id: str | None = None
    last_error: str | None = None
    result_json: str | None = None
    failures_json: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None

    def claim(self) -> Claim:
        return Claim(
            job_id=self.new.id,
            worker_id=self.worker_id or "",
            attempt=self.attempts,
            job_name=self.new.job_name,
            args=decoded(self.new.args_json),
            queue=self.new.queue,
            priority=self.new.priority,
            max_attempts=self.new.max_attempts,
            crashes=self.crashes,
            scheduled_at=self.scheduled_at,
            created_at=self.created_at,
            context=decoded(self.new.context_json),
        )

    def job(self) -> Job:
        return Job(
            id=self.new.id,
            job_name=self.new.job_name,
            args=decoded(self.new.args_json),
            args_hash=self.new.args_hash,
            status=self.status,
            attempts=self.attempts,
            max_attempts=self.new.max_attempts,
            crashes=self.crashes,
            priority=self.new.priority,
            queue=self.new.queue,
            dedup_key=self.new.dedup_key,
            scheduled_at=self.scheduled_at,
            expires_at=self.expires_at,
            last_error=self.last_error,
            result=decoded(self.result_json),
            producer_id=self.new.producer_id,
            worker_id=self.worker_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            context=decoded(self.new.context_json),
            failures=failed_attempts(decoded(self.failures_json)),
        )


@dataclass(slots=True)
class _DeadRow:
    """A dead letter; its arguments and context are filled from the texts whenever it is read."""

    letter: DeadLetter
    args_json: str
    context_json: str | None

    def read(self) -> DeadLetter:
        return replace(self.letter, args=decoded(self.args_json), context=decoded(self.context_json))


class _WaitingLine:
    """The ids of queued jobs in the order in which they are claimed.

    Two heaps: jobs wait in ``_later`` by time, and once due in ``_due`` in claim order. An entry whose
    row has moved on is stale; it is dropped when it comes up, which is cheaper than looking for it.
    """

    def __init__(self) -> None:
        self._later: list[tuple[datetime, str]] = []
        self._due: list[tuple[int, datetime, str]] = []

    def add(self, row: _Row) -> None:
        heapq.heappush(self._later, (row.scheduled_at, row.new.id))

    def take(
        self, queued: dict[str, _Row], now: datetime, wanted: Callable[[_Row], bool], limit: int
    ) -> list[_Row]:
        """Remove up to ``limit`` due and wanted rows from the line."""
        while self._later and self._later[0][0] <= now:
            scheduled_at, job_id = heapq.heappop(self._later)
            if job_id in queued:
                row = queued[job_id]
                heapq.heappush(self._due, (row.new.priority, scheduled_at, job_id))
        taken: dict[str, _Row] = {}
        passed_over = []
        while self._due and len(taken) < limit:
            entry = heapq.heappop(self._due)
            _, scheduled_at, job_id = entry
            found = queued.get(job_id)
            if found is None or found.scheduled_at != scheduled_at or job_id in taken:
                continue
            if scheduled_at > now:  # the clock was set back
                self.add(found)
            elif wanted(found):
                taken[job_id] = found
            else:
                passed_over.append(entry)
        for entry in passed_over:
            heapq.heappush(self._due, entry)
        return list(taken.values())


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
    """Jobs in dicts; gone with the process."""

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
            self._jobs: dict[str, _Row] = {}
            self._by_status: dict[JobStatus, dict[str, _Row]] = {s: {} for s in JobStatus}
            self._waiting = _WaitingLine()
            self._holders: dict[str, str] = {}  # unique key -> id of the live job that holds it
            self._dead: dict[str, _DeadRow] = {}
            self._workers: dict[str, WorkerRecord] = {}

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)

    # -- producing

    def enqueue(self, jobs: Iterable[NewJob]) -> list[str]:
        complete = list(jobs)  # a generator that raises leaves nothing stored
        with self._lock:
            ids = self._enqueue(complete)
        for queue in {job.queue for job in complete}:
            self._wake(queue)
        return ids

    def subscribe(self, wake: Callable[[str | None], None]) -> Subscription:
        subscription = _Subscription(wake, self._subscriptions)
        self._subscriptions.append(subscription)
        return subscription

    def _wake(self, queue: str | None) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.wake(queue)

    def _enqueue(self, jobs: Sequence[NewJob]) -> list[str]:
        self._refuse_broken(jobs)
        now = self._now()
        ids = []
        for job in jobs:
            holder = None if job.unique_key is None else self._holders.get(job.unique_key)
            if holder is None:
                self._insert(job, now)
            ids.append(holder or job.id)
        return ids

    def _refuse_broken(self, jobs: Sequence[NewJob]) -> None:
        """Raise before anything is written, which is how all or nothing is kept."""
        seen: set[str] = set()
        for job in jobs:
            for column in REQUIRED:
                if getattr(job, column) is None:
                    raise BackendError(f"job {job.id!r} has no {column}; nothing was enqueued")
            if job.id in seen or job.id in self._jobs:
                raise BackendError(f"the job id {job.id!r} is taken; nothing was enqueued")
            seen.add(job.id)

    def _insert(self, job: NewJob, now: datetime) -> None:
        due = job.scheduled_at or now + timedelta(seconds=job.delay)
        row = _Row(
            new=job,
            created_at=now,
            updated_at=now,
            scheduled_at=due.astimezone(UTC),
            unique_key=job.unique_key,
        )
        self._jobs[job.id] = row
        self._by_status[JobStatus.QUEUED][job.id] = row
        self._waiting.add(row)
        if job.unique_key is not None:
            self._holders[job.unique_key] = job.id

    # -- consuming

    def claim(self, request: ClaimRequest) -> list[Claim]:
        def wanted(row: _Row) -> bool:
            return (
                _selected(row, request.queues, request.names)
                and not (request.skip_own and row.worker_id == request.worker_id)
                and request.crashed in (None, row.crashes > 0)
            )

        with self._lock:
            now = self._now()
            rows = self._waiting.take(self._by_status[JobStatus.QUEUED], now, wanted, request.limit)
            for row in rows:
                self._move(row, JobStatus.PROCESSING)
                row.attempts += 1
                row.worker_id = request.worker_id
                row.started_at = row.updated_at = now
            return [row.claim() for row in rows]

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        with self._lock:
            now = self._now()
            answers = [self._apply(change, now) for change in changes]
        if any(change.sooner for change in changes):
            self._wake(None)
        return answers

    def _apply(self, change: Change, now: datetime) -> bool:
        row = self._jobs.get(change.job_id)
        if row is None or not _guard_holds(row, change, now):
            return False
        if change.attempts is not None:
            row.attempts = change.attempts
        if change.crashes is not None:
            row.crashes = change.crashes
        if change.error is not None:
            row.last_error = change.error
        if change.failure is not None:
            history = decoded(row.failures_json)
            row.failures_json = with_failure(history, change, started_at=row.started_at, at=now)
        row.updated_at = now
        if change.status is None:
            self._bury(row, change, now)
            return True
        self._move(row, change.status)
        if change.status.live:
            due = now + timedelta(seconds=change.delay)
            row.scheduled_at = min(row.scheduled_at, due) if change.sooner else due
            self._waiting.add(row)
        else:
            row.finished_at = now
            row.expires_at = None if change.ttl is None else now + timedelta(seconds=change.ttl)
            row.result_json = change.result_json
            self._give_up_key(row)
        return True

    def _bury(self, row: _Row, change: Change, now: datetime) -> None:
        assert change.reason is not None  # noqa: S101  # dead letters have one
        self._delete(row)
        letter = DeadLetter(
            id=row.new.id,
            job_name=row.new.job_name,
            args={},
            queue=row.new.queue,
            priority=row.new.priority,
            max_attempts=row.new.max_attempts,
            attempts=row.attempts,
            last_error=row.last_error,
            dead_letter_reason=change.reason,
            original_created_at=row.created_at,
            moved_to_dead_letter_at=now,
            resurrection_count=0,
            last_resurrection_at=None,
            tags=(),
            failures=failed_attempts(decoded(row.failures_json)),
        )
        self._dead[row.new.id] = _DeadRow(letter, row.new.args_json, row.new.context_json)

    def _move(self, row: _Row, status: JobStatus) -> None:
        del self._by_status[row.status][row.new.id]
        row.status = status
        self._by_status[status][row.new.id] = row

    def _delete(self, row: _Row) -> None:
        del self._jobs[row.new.id]
        del self._by_status[row.status][row.new.id]
        self._give_up_key(row)

    def _give_up_key(self, row: _Row) -> None:
        if row.unique_key is not None:
            del self._holders[row.unique_key]
            row.unique_key = None

    def _queued(self, queues: Collection[str] | None, names: Collection[str] | None) -> Iterator[_Row]:
        rows = self._by_status[JobStatus.QUEUED].values()
        return (row for row in rows if _selected(row, queues, names))

    def count_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> int:
        with self._lock:
            now = self._now()
            return sum(row.scheduled_at <= now for row in self._queued(queues, names))

    def next_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> float | None:
        with self._lock:
            due = min((row.scheduled_at for row in self._queued(queues, names)), default=None)
            return None if due is None else (due - self._now()).total_seconds()

    def overdue(
        self, *, seconds: float, limit: int, queues: Collection[str] | None = None
    ) -> list[OverdueJob]:
        with self._lock:
            now = self._now()
            since = now - timedelta(seconds=seconds)
            late = (row for row in self._queued(queues, None) if row.scheduled_at <= since)
            return [
                OverdueJob(
                    job_id=row.new.id,
                    job_name=row.new.job_name,
                    queue=row.new.queue,
                    overdue=(now - row.scheduled_at).total_seconds(),
                )
                for row in heapq.nsmallest(max(limit, 0), late, key=_claim_order)
            ]

    # -- liveness

    def register(self, worker: WorkerInfo) -> None:
        with self._lock:
            now = self._now()
            known = self._workers.get(worker.id)
            self._workers[worker.id] = WorkerRecord(
                id=worker.id,
                hostname=worker.hostname,
                pid=worker.pid,
                concurrency=worker.concurrency,
                queues=worker.queues,
                started_at=known.started_at if known else now,
                last_heartbeat_at=now,
            )

    def beat(self, worker_id: str) -> bool:
        with self._lock:
            worker = self._workers.get(worker_id)
            if worker is None:
                return False
            self._workers[worker_id] = replace(worker, last_heartbeat_at=self._now())
            return True

    def deregister(self, worker_id: str) -> None:
        with self._lock:
            self._workers.pop(worker_id, None)

    def orphans(self, *, dead_after: float, limit: int) -> list[Claim]:
        with self._lock:
            living = {worker.id for worker in self._workers.values()} - self._silent(dead_after)
            processing = self._by_status[JobStatus.PROCESSING].values()
            lost = [row for row in processing if row.worker_id not in living]
            return [row.claim() for row in sorted(lost, key=lambda row: row.new.id)[:limit]]

    def held(self, worker_id: str) -> list[Claim]:
        with self._lock:
            processing = self._by_status[JobStatus.PROCESSING].values()
            held = [row for row in processing if row.worker_id == worker_id]
            return [row.claim() for row in sorted(held, key=lambda row: row.new.id)]

    def forget_workers(self, *, dead_after: float) -> int:
        with self._lock:
            holding = {row.worker_id for row in self._by_status[JobStatus.PROCESSING].values()}
            forgotten = self._silent(dead_after) - holding
            for worker_id in forgotten:
                del self._workers[worker_id]
            return len(forgotten)

    def _silent(self, dead_after: float) -> set[str]:
        """The ids of workers that did not beat within the last ``dead_after`` seconds."""
        threshold = self._now() - timedelta(seconds=dead_after)
        return {w.id for w in self._workers.values() if w.last_heartbeat_at < threshold}

    def list_workers(self) -> list[WorkerRecord]:
        with self._lock:
            return sorted(self._workers.values(), key=lambda worker: (worker.started_at, worker.id))

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
            rows = self._jobs if status is None else self._by_status[status]
            found = [row for row in rows.values() if queue is None or row.new.queue == queue]
            found.sort(key=lambda row: row.new.id, reverse=True)
            return [row.job() for row in found[offset : offset + limit]]

    def count_live(self) -> list[LiveJobs]:
        with self._lock:
            groups: dict[tuple[str, str, JobStatus], list[datetime]] = {}
            for row in self._live():
                groups.setdefault((row.new.job_name, row.new.queue, row.status), []).append(row.created_at)
            return [
                LiveJobs(job_name=name, queue=queue, status=status, count=len(ages), oldest=min(ages))
                for (name, queue, status), ages in sorted(groups.items(), key=lambda group: group[0])
            ]

    def walk_live(self, *, after: str | None = None, limit: int) -> list[Job]:
        with self._lock:
            behind = (row for row in self._live() if after is None or row.new.id > after)
            return [row.job() for row in heapq.nsmallest(limit, behind, key=lambda row: row.new.id)]

    def _live(self) -> Iterator[_Row]:
        for status in JobStatus:
            if status.live:
                yield from self._by_status[status].values()

    def delete_job(self, job_id: str) -> bool:
        with self._lock:
            row = self._jobs.get(job_id)
            if row is None:
                return False
            self._delete(row)
            return True

    def queue_stats(self) -> dict[str, int]:
        with self._lock:
            stats = {status.value: len(rows) for status, rows in self._by_status.items()}
            stats["dead_letter"] = len(self._dead)
            stats["total"] = sum(stats.values())
            return stats

    def purge(self, *, limit: int, dead_letter_ttl: float | None = None) -> int:
        with self._lock:
            now = self._now()
            past = [row for row in self._jobs.values() if row.expires_at and row.expires_at <= now]
            past = past[:limit]
            for row in past:
                self._delete(row)
            if dead_letter_ttl is None:
                return len(past)
            oldest = now - timedelta(seconds=dead_letter_ttl)
            dead = [d.letter for d in self._dead.values()]
            old = [letter.id for letter in dead if letter.moved_to_dead_letter_at <= oldest][:limit]
            for dead_letter_id in old:
                del self._dead[dead_letter_id]
            return len(past) + len(old)

    # -- dead letters

    def list_dead_letters(self, where: DeadLetterFilter) -> list[DeadLetter]:
        with self._lock:
            return [dead.read() for dead in self._meant(where)]

    def delete_dead_letters(self, where: DeadLetterFilter) -> int:
        with self._lock:
            meant = self._meant(where)
            for dead in meant:
                del self._dead[dead.letter.id]
            return len(meant)

    def _meant(self, where: DeadLetterFilter) -> list[_DeadRow]:
        found = [dead for dead in self._dead.values() if _matches(dead.letter, where)]
        found.sort(key=lambda d: (d.letter.moved_to_dead_letter_at, d.letter.id), reverse=True)
        return found[where.offset : where.offset + where.limit]

    def replay_dead_letter(self, dead_letter_id: str, job: NewJob) -> str | None:
        with self._lock:
            dead = self._dead.get(dead_letter_id)
            if dead is None:
                return None
            [job_id] = self._enqueue([job])
            if job_id == job.id:
                dead.letter = replace(
                    dead.letter,
                    resurrection_count=dead.letter.resurrection_count + 1,
                    last_resurrection_at=self._now(),
                )
            return job_id

    def tag_dead_letter(self, dead_letter_id: str, tags: Sequence[str]) -> bool:
        with self._lock:
            dead = self._dead.get(dead_letter_id)
            if dead is None:
                return False
            dead.letter = replace(dead.letter, tags=tuple(dict.fromkeys([*dead.letter.tags, *tags])))
            return True

    def dead_letter_stats(self, *, hours: float | None = None) -> DeadLetterStats:
        with self._lock:
            letters = [dead.letter for dead in self._dead.values()]
            if hours is not None:
                since = self._now() - timedelta(hours=hours)
                letters = [one for one in letters if one.moved_to_dead_letter_at >= since]
            return DeadLetterStats(
                total=len(letters),
                by_reason=dict(Counter(one.dead_letter_reason.value for one in letters)),
                by_job_name=dict(Counter(one.job_name for one in letters)),
                by_queue=dict(Counter(one.queue for one in letters)),
            )


def _selected(row: _Row, queues: Collection[str] | None, names: Collection[str] | None) -> bool:
    return (queues is None or row.new.queue in queues) and (names is None or row.new.job_name in names)


def _claim_order(row: _Row) -> tuple[int, datetime, str]:
    return row.new.priority, row.scheduled_at, row.new.id


def _guard_holds(row: _Row, change: Change, now: datetime) -> bool:
    if change.worker_id is None:
        late_enough = not change.overdue or row.scheduled_at <= now - timedelta(seconds=change.overdue)
        return row.status is JobStatus.QUEUED and late_enough
    return (
        row.status is JobStatus.PROCESSING
        and row.worker_id == change.worker_id
        and row.attempts == change.attempt
    )


def _matches(letter: DeadLetter, where: DeadLetterFilter) -> bool:
    def among(value: str, wanted: Sequence[str] | None) -> bool:
        return wanted is None or value in wanted

    moved_at = letter.moved_to_dead_letter_at
    return (
        among(letter.id, where.ids)
        and among(letter.job_name, where.job_names)
        and among(letter.queue, where.queues)
        and among(letter.dead_letter_reason, where.reasons)
        and (where.date_from is None or moved_at >= where.date_from)
        and (where.date_to is None or moved_at < where.date_to)
        and (where.tags is None or not set(where.tags).isdisjoint(letter.tags))
        and where.has_been_resurrected in (None, letter.resurrection_count > 0)
    )
