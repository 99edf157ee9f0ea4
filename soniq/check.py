"""Whether this code can run the jobs that are stored: what a deployment wants to know before it goes on.

A job can outlive the code that enqueued it. Looked at are all live jobs: those that wait, those that are
delayed, and those that run at present, since they come back if they fail or their worker stops. Dead
letters are not: a replay is somebody's decision, and is checked when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from soniq.backend import StorageBackend
from soniq.errors import InvalidArguments, UnknownTask
from soniq.jobs import JobContext, JobStatus
from soniq.records import Job
from soniq.registry import Registry
from soniq.schedule_records import fire_time_in

BATCH = 1000

Kind: TypeAlias = Literal["unknown_job", "invalid_arguments"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Jobs of one name, in one queue and status, that cannot be run for one reason."""

    kind: Kind
    job_name: str
    queue: str
    status: JobStatus
    count: int
    oldest: datetime  # when the first of them was enqueued
    reason: str
    example: str | None = None  # the id of one of them, where they had to be looked at one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found."""

    findings: tuple[Finding, ...]
    live: int  # live jobs; the names of all were looked at
    examined: int  # of these, how many had their arguments looked at


def check_jobs(
    backend: StorageBackend,
    registry: Registry,
    *,
    sample: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Find live jobs whose name is unknown here, or whose arguments the code of today refuses.

    Reads only. Jobs that come and go meanwhile may or may not be seen.

    :param sample: look at the arguments of so many jobs, the oldest first; None = of all
    :param progress: called with how many jobs have been examined, and of how many
    """
    counted = backend.count_live()
    live = sum(group.count for group in counted)
    registry.learn(group.job_name for group in counted)
    findings = []
    for group in counted:
        try:
            registry.get(group.job_name)
        except UnknownTask as error:
            findings.append(
                Finding(
                    kind="unknown_job",
                    job_name=group.job_name,
                    queue=group.queue,
                    status=group.status,
                    count=group.count,
                    oldest=group.oldest,
                    reason=str(error),
                )
            )
    total = live if sample is None else min(sample, live)
    refused: dict[tuple[str, str, JobStatus, str], Finding] = {}
    examined = 0
    for job in _walk(backend, sample):
        finding = _examined(job, registry)
        if finding is not None:
            key = (finding.job_name, finding.queue, finding.status, finding.reason)
            refused[key] = _joined(refused[key], finding) if key in refused else finding
        examined += 1
        if progress is not None and examined % BATCH == 0:
            progress(examined, total)
    return Report(findings=(*findings, *refused.values()), live=live, examined=examined)


def _walk(backend: StorageBackend, sample: int | None) -> Iterator[Job]:
    """Live jobs, the oldest first, read in batches."""
    after: str | None = None
    left = sample
    while left is None or left > 0:
        limit = BATCH if left is None else min(BATCH, left)
        jobs = backend.walk_live(after=after, limit=limit)
        yield from jobs
        if len(jobs) < limit:
            return
        after = jobs[-1].id
        left = None if left is None else left - len(jobs)


def _examined(job: Job, registry: Registry) -> Finding | None:
    """What is wrong with the arguments of a job whose name is known."""
    task = registry.find(job.job_name)
    if task is None:
        return None
    try:
        task.call_arguments(job.args, lambda: _context(job), unseen=True)
    except Exception as error:  # noqa: BLE001  # a model's validators are user code
        return Finding(
            kind="invalid_arguments",
            job_name=job.job_name,
            queue=job.queue,
            status=job.status,
            count=1,
            oldest=job.created_at,
            reason=refusal_of(error),
            example=job.id,
        )
    return None


def refusal_of(error: Exception) -> str:
    """What is wrong, without the values: they may be secrets, and the report ends up in a build log."""
    if isinstance(error, InvalidArguments):
        return str(error)
    errors: Any = getattr(error, "errors", None)  # of a pydantic model: what is wrong with which field
    try:
        fields = sorted({f"{one['loc'][0]} ({one['type']})" for one in errors()})
    except Exception:  # noqa: BLE001  # another kind of error, with other attributes or none
        fields = []
    kind = type(error).__name__
    return f"the job's model refuses them: {', '.join(fields) or kind}"


def _context(job: Job) -> JobContext:
    return JobContext(
        job_id=job.id,
        job_name=job.job_name,
        attempt=job.attempts + 1,
        max_attempts=job.max_attempts,
        queue=job.queue,
        worker_id=job.worker_id or "",
        scheduled_at=job.scheduled_at,
        created_at=job.created_at,
        scheduled_for=fire_time_in(job.context),
    )


def _joined(one: Finding, other: Finding) -> Finding:
    return replace(one, count=one.count + other.count, oldest=min(one.oldest, other.oldest))
