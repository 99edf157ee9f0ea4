"""What the storage says when it is asked: rows as frozen values, and the filter of dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from soniq.jobs import JSON, DeadLetterReason, JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAttempt:
    """One start of a job that did not succeed: it raised, overran, or lost its worker."""

    attempt: int  # as it was counted then: a start that was given back does not count
    worker_id: str
    started_at: datetime | None
    at: datetime  # when the failure was recorded
    error_class: str | None  # "package.module.QualName"; None: no exception, such as a lost worker
    error: str  # with its traceback; cut to 4 KB


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of the jobs table."""

    id: str
    job_name: str
    args: Mapping[str, JSON]
    args_hash: str | None
    status: JobStatus
    attempts: int  # starts so far, without interrupted and snoozed ones
    max_attempts: int
    crashes: int
    priority: int
    queue: str
    dedup_key: str | None
    scheduled_at: datetime  # not before
    expires_at: datetime | None  # when a finished row may be purged
    last_error: str | None
    result: JSON
    producer_id: str
    worker_id: str | None  # of the last claim
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    context: Mapping[str, JSON] | None = None  # what surrounded the enqueue, by key
    failures: tuple[FailedAttempt, ...] = ()  # the last 20 at most, oldest first

    @property
    def unique_job(self) -> bool:
        """Whether the job excludes live twins with the same arguments."""
        return self.args_hash is not None

    def to_dict(self) -> dict[str, Any]:
        """The job as ``get_job`` gives it to users."""
        row = asdict(self)
        row["status"] = self.status.value
        row["failures"] = list(row["failures"])
        row["unique_job"] = self.unique_job
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveJobs:
    """How many live jobs of one name wait in one queue, or run from it."""

    job_name: str
    queue: str
    status: JobStatus  # queued or processing
    count: int
    oldest: datetime  # when the first of them was enqueued


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueJob:
    """A job that is due and that nobody has claimed yet."""

    job_id: str
    job_name: str
    queue: str
    overdue: float  # seconds since it became due, by the clock of the storage


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A row of the dead-letter table: a job that gave up, kept as its audit trail."""

    id: str  # the id that the job had
    job_name: str
    args: Mapping[str, JSON]
    queue: str
    priority: int
    max_attempts: int
    attempts: int
    last_error: str | None
    dead_letter_reason: DeadLetterReason
    original_created_at: datetime
    moved_to_dead_letter_at: datetime
    resurrection_count: int
    last_resurrection_at: datetime | None
    tags: tuple[str, ...]
    context: Mapping[str, JSON] | None = None  # what surrounded the enqueue, by key; a replay keeps it
    failures: tuple[FailedAttempt, ...] = ()  # the last 20 at most, oldest first

    def to_dict(self) -> dict[str, Any]:
        """All fields; the form that exports write."""
        row = asdict(self)
        row["dead_letter_reason"] = self.dead_letter_reason.value
        row["tags"] = list(self.tags)
        row["failures"] = list(row["failures"])
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterStats:
    """How many dead letters there are, and of what kind."""

    total: int
    by_reason: Mapping[str, int]
    by_job_name: Mapping[str, int]
    by_queue: Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters are meant. Fields that are None do not filter; given ones must all hold."""

    ids: Sequence[str] | None = None
    job_names: Sequence[str] | None = None
    queues: Sequence[str] | None = None
    reasons: Sequence[DeadLetterReason | str] | None = None
    date_from: datetime | None = None  # moved at or after
    date_to: datetime | None = None  # moved before
    tags: Sequence[str] | None = None  # carries at least one of them
    has_been_resurrected: bool | None = None
    limit: int = 1000
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """A row of the workers table."""

    id: str
    hostname: str
    pid: int
    concurrency: int
    queues: tuple[str, ...] | None
    started_at: datetime
    last_heartbeat_at: datetime
