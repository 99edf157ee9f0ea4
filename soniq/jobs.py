"""The values that travel between enqueue, storage and worker. None of them can be changed.

Those that are made for each job are named tuples: a frozen dataclass of this size takes four times as
long to make, which a worker notices (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

JSON: TypeAlias = Any  # None, bool, int, finite float, str, list and dict of these


class JobStatus(StrEnum):
    """Where a job stands. A job that gave up is not here: it moved to the dead letters."""

    QUEUED = "queued"  # waits to be claimed: due now, delayed, or before a retry
    PROCESSING = "processing"  # claimed by a worker
    DONE = "done"  # the handler returned
    CANCELLED = "cancelled"  # withdrawn before it was claimed

    @property
    def live(self) -> bool:
        """Whether the job may still run; uniqueness holds among live jobs."""
        return self in (JobStatus.QUEUED, JobStatus.PROCESSING)


class DeadLetterReason(StrEnum):
    """Why a job was moved to the dead letters."""

    MAX_RETRIES_EXCEEDED = "max_retries_exceeded"
    PERMANENT_FAILURE = "permanent_failure"  # the retry policy or discard_on said: never again
    JOB_NOT_FOUND = "job_not_found"  # no code of that name
    INVALID_ARGUMENTS = "invalid_arguments"  # the stored arguments no longer fit the code
    TIMEOUT = "timeout"  # the last attempt overran
    WORKER_LOST = "worker_lost"  # its workers died under it too often


class NewJob(NamedTuple):
    """A job as a producer hands it to the storage: validated, encoded, not yet stored."""

    id: str  # UUIDv7, chosen by the producer
    job_name: str
    args_json: str  # keyword arguments, as JSON text
    queue: str
    priority: int  # 0..1000, lower first
    max_attempts: int
    scheduled_at: datetime | None = None  # aware; wins over delay
    delay: float = 0.0  # seconds after the database's now
    args_hash: str | None = None  # set for unique jobs
    dedup_key: str | None = None  # as the caller gave it
    unique_key: str | None = None  # at most one live job may hold it
    producer_id: str = ""  # host:pid, for people
    context_json: str | None = None  # a JSON object: what surrounds the job (soniq.context)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """Which due jobs a worker asks for."""

    worker_id: str
    limit: int  # so many at most; with less than 1, nothing is taken
    queues: Collection[str] | None = None  # only these; None = all, empty = none
    names: Collection[str] | None = None  # only jobs of these names; None = all, empty = none
    skip_own: bool = False  # leave jobs whose last claim was this worker's
    crashed: bool | None = None  # True = only jobs with a crash behind them, False = none of those


class Claim(NamedTuple):
    """A job in the hands of a worker, and the fencing token ``(job_id, worker_id, attempt)``."""

    job_id: str
    worker_id: str
    attempt: int  # counts from 1; this start included
    job_name: str
    args: Mapping[str, JSON]
    queue: str
    priority: int
    max_attempts: int
    crashes: int  # starts that ended in a lost worker
    scheduled_at: datetime
    created_at: datetime
    context: Mapping[str, JSON] | None = None  # what surrounded the enqueue, by key


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a handler may know of its own run.

    Injected into the parameter that is annotated with this class, whatever its name.
    """

    job_id: str
    job_name: str
    attempt: int  # counts from 1
    max_attempts: int
    queue: str
    worker_id: str
    scheduled_at: datetime
    created_at: datetime
    scheduled_for: datetime | None = None  # the fire time of the schedule that made the job


@dataclass(frozen=True, slots=True)
class Snooze:
    """Returned by a handler: run me again in ``seconds``; this attempt does not count.

    :param seconds: from now; capped by the setting ``snooze_max_seconds``
    :param reason: shown as the job's last error, for people
    """

    seconds: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A worker process as it registers itself."""

    id: str  # a fresh UUID per start: names and pids are reused, this is not
    hostname: str
    pid: int
    concurrency: int
    queues: tuple[str, ...] | None = field(default=None)  # None = all
