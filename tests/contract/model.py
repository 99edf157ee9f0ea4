"""The storage contract as plain Python: what `soniq.backend` and `soniq.transitions` promise in words.

Imports nothing of the product, so that it cannot share its mistakes. A step of a test happens at a
:class:`Moment`: stores ask their own clocks, so all that is known of "now" is between which two instants
it was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

LIVE = ("queued", "processing")
STATUSES = (*LIVE, "done", "cancelled")


@dataclass(frozen=True)
class Moment:
    """An instant between `low` and `high`, in seconds."""

    low: float
    high: float

    def plus(self, seconds: float) -> Moment:
        return Moment(self.low + seconds, self.high + seconds)

    def holds(self, seconds: float) -> bool:
        return self.low <= seconds <= self.high


@dataclass
class ModelJob:
    id: str
    name: str
    args: Any
    queue: str
    priority: int
    max_attempts: int
    args_hash: str | None
    dedup_key: str | None
    unique_key: str | None
    producer: str
    context: Any
    due: Moment
    created: Moment
    updated: Moment
    status: str = "queued"
    attempts: int = 0
    crashes: int = 0
    worker: str | None = None
    error: str | None = None
    result: Any = None
    started: Moment | None = None
    finished: Moment | None = None
    expires: Moment | None = None
    failures: tuple[ModelFailure, ...] = ()


@dataclass(frozen=True)
class ModelFailure:
    """An entry of a job's history."""

    attempt: int
    worker: str | None
    started: Moment | None
    at: Moment
    error_class: str | None
    error: str


@dataclass(frozen=True)
class ModelClaim:
    """What a worker was given; `job` is how the job then was."""

    job: ModelJob
    worker: str
    attempt: int


@dataclass
class ModelLetter:
    job: ModelJob  # as it was when it gave up
    reason: str
    moved: Moment
    replays: int = 0
    replayed: Moment | None = None
    tags: list[str] = field(default_factory=list)


@dataclass
class ModelWorker:
    id: str
    facts: tuple[Any, ...]
    started: Moment
    beat: Moment


@dataclass(frozen=True)
class ModelSchedule:
    """`fields` are those that no step looks at: they come back as they were written."""

    name: str
    job_name: str
    declared: bool
    next_fire: float | None
    version: int
    last_job: str | None
    fields: dict[str, Any]


@dataclass(frozen=True)
class ModelScheduleChange:
    name: str
    seen: int | None
    becomes: ModelSchedule | None
    jobs: list[ModelJob]


class Model:
    """What a store must say and hold."""

    def __init__(self) -> None:
        self.jobs: dict[str, ModelJob] = {}
        self.letters: dict[str, ModelLetter] = {}
        self.workers: dict[str, ModelWorker] = {}
        self.schedules: dict[str, ModelSchedule] = {}

    # -- producing

    def enqueue(self, new: list[ModelJob]) -> list[str]:
        """The answer. The caller made sure that nothing is to be refused."""
        answer = []
        for job in new:
            holder = self.holder(job.unique_key)
            if holder is None:
                self.jobs[job.id] = replace(job)
            answer.append(holder or job.id)
        return answer

    def holder(self, key: str | None) -> str | None:
        held = (job.id for job in self.jobs.values() if job.status in LIVE and job.unique_key == key)
        return None if key is None else next(held, None)

    # -- consuming

    def queued(self, queues: Any, names: Any) -> list[ModelJob]:
        return [
            job
            for job in self.jobs.values()
            if job.status == "queued"
            and (queues is None or job.queue in queues)
            and (names is None or job.name in names)
        ]

    def due(
        self, now: Moment, queues: Any, names: Any, not_of: str | None = None, crashed: bool | None = None
    ) -> list[ModelJob]:
        """In the order of a claim."""
        found = [
            job
            for job in self.queued(queues, names)
            if job.due.low <= now.low
            and (not_of is None or job.worker != not_of)
            and crashed in (None, job.crashes > 0)
        ]
        return sorted(found, key=lambda job: (job.priority, job.due.low, job.id))

    def claim(self, job: ModelJob, worker: str, now: Moment) -> ModelClaim:
        job.status = "processing"
        job.attempts += 1
        job.worker = worker
        job.started = job.updated = now
        return ModelClaim(replace(job), worker, job.attempts)

    def holds(self, claim: ModelClaim) -> bool:
        """Whether the guard of an outcome holds."""
        job = self.jobs.get(claim.job.id)
        return (
            job is not None
            and job.status == "processing"
            and job.worker == claim.worker
            and job.attempts == claim.attempt
        )

    def succeed(self, claim: ModelClaim, now: Moment, result: str | None, ttl: Any, error: Any) -> bool:
        if not self.holds(claim):
            return False
        job = self.jobs[claim.job.id]
        job.result = None if result is None else json.loads(result)
        self._finish(job, "done", now, ttl, error)
        return True

    def cancel(self, job_id: str, now: Moment, ttl: float | None) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.status != "queued":
            return False
        self._finish(job, "cancelled", now, ttl, None)
        return True

    def hasten(self, job_id: str, now: Moment) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.status != "queued":
            return False
        if job.due.low > now.low:
            job.due = now
        job.updated = now
        return True

    def fail(self, claim: ModelClaim, now: Moment, error: str, delay: float | None, kind: Any = None) -> bool:
        if delay is None:
            return self.bury(claim, now, "permanent_failure", error, kind)
        if claim.attempt >= claim.job.max_attempts:
            return self.bury(claim, now, "max_retries_exceeded", error, kind)
        self._note(claim, now, error, kind)
        return self._requeue(claim, now, delay, error)

    def snooze(self, claim: ModelClaim, now: Moment, seconds: float, reason: str | None) -> bool:
        return self._requeue(claim, now, seconds, reason, attempts=claim.attempt - 1)

    def interrupt(self, claim: ModelClaim, now: Moment) -> bool:
        return self._requeue(claim, now, 0.0, None, attempts=claim.attempt - 1)

    def rescue(self, claim: ModelClaim, now: Moment, max_crashes: int) -> bool:
        error = f"worker {claim.worker} was lost during attempt {claim.attempt}"
        crashes = claim.job.crashes + 1
        if crashes >= max_crashes or claim.attempt >= claim.job.max_attempts:
            return self.bury(claim, now, "worker_lost", error)
        self._note(claim, now, error)
        return self._requeue(claim, now, 0.0, error, crashes=crashes)

    def _note(self, claim: ModelClaim, now: Moment, error: str, kind: str | None = None) -> None:
        """One more for the history, which holds the last 20."""
        if self.holds(claim):
            job = self.jobs[claim.job.id]
            entry = ModelFailure(job.attempts, job.worker, job.started, now, kind, error)
            job.failures = (*job.failures, entry)[-20:]

    def bury(self, claim: ModelClaim, now: Moment, reason: str, error: str, kind: str | None = None) -> bool:
        if not self.holds(claim):
            return False
        self._note(claim, now, error, kind)
        job = self.jobs.pop(claim.job.id)
        job.error = error
        self.letters[job.id] = ModelLetter(job, reason, now)
        return True

    def _requeue(self, claim: ModelClaim, now: Moment, delay: float, error: Any, **counts: int) -> bool:
        if not self.holds(claim):
            return False
        job = self.jobs[claim.job.id]
        job.status = "queued"
        job.due = now.plus(delay)
        job.updated = now
        job.attempts = counts.get("attempts", job.attempts)
        job.crashes = counts.get("crashes", job.crashes)
        job.error = job.error if error is None else error
        return True

    def _finish(self, job: ModelJob, status: str, now: Moment, ttl: float | None, error: Any) -> None:
        job.status = status
        job.finished = job.updated = now
        job.expires = None if ttl is None else now.plus(ttl)
        job.unique_key = None
        job.error = job.error if error is None else error

    def held(self, worker: str) -> list[ModelJob]:
        held = [job for job in self._processing() if job.worker == worker]
        return sorted(held, key=lambda job: job.id)

    def _processing(self) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.status == "processing"]

    # -- liveness

    def register(self, worker: str, facts: tuple[Any, ...], now: Moment) -> None:
        known = self.workers.get(worker)
        self.workers[worker] = ModelWorker(worker, facts, known.started if known else now, now)

    def beat(self, worker: str, now: Moment) -> bool:
        if worker not in self.workers:
            return False
        self.workers[worker].beat = now
        return True

    def _living(self, now: Moment, dead_after: float) -> set[str]:
        return {one.id for one in self.workers.values() if one.beat.low >= now.low - dead_after}

    def orphans(self, now: Moment, dead_after: float) -> list[ModelJob]:
        living = self._living(now, dead_after)
        return [job for job in self._processing() if job.worker not in living]

    def forget(self, now: Moment, dead_after: float) -> int:
        keep = self._living(now, dead_after) | {str(job.worker) for job in self._processing()}
        gone = self.workers.keys() - keep
        for worker in gone:
            del self.workers[worker]
        return len(gone)

    # -- housekeeping and dead letters

    def expired(self, now: Moment) -> list[str]:
        jobs = self.jobs.values()
        return [job.id for job in jobs if job.expires is not None and job.expires.low <= now.low]

    def older(self, now: Moment, seconds: float) -> list[str]:
        letters = self.letters.values()
        return [letter.job.id for letter in letters if letter.moved.low <= now.low - seconds]

    def meant(self, where: dict[str, Any]) -> list[ModelLetter]:
        """The dead letters that a filter means, newest first; limit and offset apart."""
        among = {
            "ids": lambda letter: letter.job.id,
            "job_names": lambda letter: letter.job.name,
            "queues": lambda letter: letter.job.queue,
            "reasons": lambda letter: letter.reason,
        }
        found = list(self.letters.values())
        for name, value_of in among.items():
            wanted = where.get(name)
            if wanted is not None:
                found = [letter for letter in found if value_of(letter) in wanted]
        if where.get("tags") is not None:
            found = [letter for letter in found if set(letter.tags) & set(where["tags"])]
        if where.get("date_from") is not None:
            found = [letter for letter in found if letter.moved.low >= where["date_from"]]
        if where.get("date_to") is not None:
            found = [letter for letter in found if letter.moved.low < where["date_to"]]
        if where.get("has_been_resurrected") is not None:
            found = [one for one in found if (one.replays > 0) == where["has_been_resurrected"]]
        return sorted(found, key=lambda letter: letter.moved.low, reverse=True)

    def replay(self, letter_id: str, job: ModelJob, now: Moment) -> str | None:
        letter = self.letters.get(letter_id)
        if letter is None:
            return None
        [answer] = self.enqueue([job])
        if answer == job.id:
            letter.replays += 1
            letter.replayed = now
        return answer

    def tag(self, letter_id: str, tags: list[str]) -> bool:
        letter = self.letters.get(letter_id)
        if letter is None:
            return False
        letter.tags = list(dict.fromkeys([*letter.tags, *tags]))
        return True

    def stats(self) -> dict[str, int]:
        counts = dict.fromkeys(STATUSES, 0)
        for job in self.jobs.values():
            counts[job.status] += 1
        counts["dead_letter"] = len(self.letters)
        return {**counts, "total": sum(counts.values())}

    # -- schedules

    def write_schedules(self, changes: list[ModelScheduleChange]) -> list[list[str] | None]:
        return [self._write_schedule(change) for change in changes]

    def _write_schedule(self, change: ModelScheduleChange) -> list[str] | None:
        known = self.schedules.pop(change.name, None)
        if (None if known is None else known.version) != change.seen:
            if known is not None:
                self.schedules[change.name] = known
            return None
        ids = self.enqueue(change.jobs)
        if change.becomes is not None:
            last = ids[-1] if ids else change.becomes.last_job
            self.schedules[change.name] = replace(change.becomes, last_job=last)
        return ids

    def waiting_schedules(self, job_names: Any, declared: Any) -> list[ModelSchedule]:
        """In the order of their times."""
        found = [
            schedule
            for schedule in self.schedules.values()
            if schedule.next_fire is not None
            and (job_names is None or schedule.job_name in job_names)
            and (declared is None or not schedule.declared or schedule.name in declared)
        ]
        return sorted(found, key=lambda schedule: (schedule.next_fire, schedule.name))
