"""One attempt at one job, and what its handler may know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from soniq.jobs import JSON, Claim, JobContext
from soniq.schedule_records import fire_time_in
from soniq.task import Task


@dataclass(slots=True)
class Attempt:
    """One attempt at one job, ready to be made."""

    task: Task[..., Any]
    claim: Claim
    started: float
    timeout: float | None  # seconds
    references: Sequence[Mapping[str, JSON]] = ()  # to be loaded before it has arguments
    positional: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)

    def call(self) -> Any:
        """Call the handler."""
        return self.task.fn(*self.positional, **self.named)


def context_of(claim: Claim) -> JobContext:
    """What the handler may know of its run."""
    return JobContext(
        job_id=claim.job_id,
        job_name=claim.job_name,
        attempt=claim.attempt,
        max_attempts=claim.max_attempts,
        queue=claim.queue,
        worker_id=claim.worker_id,
        scheduled_at=claim.scheduled_at,
        created_at=claim.created_at,
        scheduled_for=fire_time_in(claim.context),
    )
