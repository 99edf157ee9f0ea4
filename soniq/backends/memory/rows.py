"""A job as it is kept, and the values that are read of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from soniq.backends.stored import decoded, failed_attempts
from soniq.jobs import Claim, JobStatus, NewJob
from soniq.records import Job
from soniq.transitions import Change

ClaimOrder: TypeAlias = tuple[int, datetime, str]


@dataclass(slots=True)
class JobRow:
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

    @property
    def claim_order(self) -> ClaimOrder:
        """What is less is claimed sooner."""
        return self.new.priority, self.scheduled_at, self.new.id

    def among(self, queues: Collection[str] | None, names: Collection[str] | None) -> bool:
        """Whether the job is of one of these queues and of one of these names; None = any."""
        return (queues is None or self.new.queue in queues) and (names is None or self.new.job_name in names)

    def meets_guard(self, change: Change, now: datetime) -> bool:
        """Whether the change is still about this state of the job."""
        if change.worker_id is None:
            late_enough = not change.overdue or self.scheduled_at <= now - timedelta(seconds=change.overdue)
            return self.status is JobStatus.QUEUED and late_enough
        return (
            self.status is JobStatus.PROCESSING
            and self.worker_id == change.worker_id
            and self.attempts == change.attempt
        )

    def claim(self) -> Claim:
        """The claim of whoever runs the job now."""
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
        """The job as it is now; what happens to it later does not show."""
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
