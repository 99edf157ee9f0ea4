"""What there is to say about a queue, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows; ``capped``: there are more, which were not counted."""

    value: int = 0
    capped: bool = False

    def __add__(self, other: Count) -> Count:
        """Both together."""
        return Count(self.value + other.value, self.capped or other.capped)

    def __str__(self) -> str:
        return f"{self.value:,}{'+' if self.capped else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """One queue."""

    name: str
    due: Count  # waits, and could be claimed now
    delayed: Count  # waits for its time
    processing: Count
    oldest: float | None  # seconds for which the first due job has waited; None without any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job that a worker holds."""

    id: str
    job_name: str
    seconds: float | None  # since it was claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One worker."""

    id: str
    hostname: str
    pid: int
    concurrency: int
    queues: tuple[str, ...] | None  # None = all
    silent: float  # seconds since its last heartbeat
    live: bool  # whether that is less than the setting dead_after
    jobs: tuple[RunningJob, ...]  # the longest running first


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleState:
    """One schedule, and what became of its last job."""

    name: str
    job_name: str
    rule: str  # in words, such as "every day at 03:00"; a cron rule that has none as it is written
    cron: str | None
    every: float | None  # seconds
    timezone: str  # in which a cron rule is read
    status: str  # "active", "paused" or "ended"
    next_fire_at: datetime | None  # None: paused or ended
    last_fire_at: datetime | None  # the one that its last job stands for
    last_job_id: str | None
    last_outcome: str | None  # the status of that job, "dead_letter" or "removed"; None: there was no job yet
    last_reason: str | None  # of a dead letter


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownJobs:
    """Due jobs of one name for which there is no code here."""

    job_name: str
    count: int
    oldest: float  # seconds for which the first of them has been due


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What ended within the last ``seconds``."""

    seconds: float
    done: Count | None  # None: finished jobs leave no trace that could be counted cheaply
    dead: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """How many there are, by reason; of very many, the newest."""

    total: Count
    by_reason: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One look at the queue."""

    database: str  # such as "default (PostgreSQL)"
    at: datetime
    queues: tuple[QueueStatus, ...]
    more_queues: bool  # there are more than were looked at
    workers: tuple[WorkerStatus, ...]
    more_workers: bool
    orphans: Count  # jobs in processing whose worker is not known any more
    schedules: tuple[ScheduleState, ...]  # by name
    more_schedules: bool
    throughput: Throughput
    dead_letters: DeadLetters
    unknown: tuple[UnknownJobs, ...]
    unknown_reach: int | None  # if there are more due jobs: how many of them were looked at

    def to_dict(self) -> dict[str, Any]:
        """For programs: each count is ``{"value": N, "capped": bool}``, each time in ISO 8601."""
        row = asdict(self)
        for schedule in row["schedules"]:
            for name in ("next_fire_at", "last_fire_at"):
                schedule[name] = None if schedule[name] is None else schedule[name].isoformat()
        return {**row, "at": self.at.isoformat()}
