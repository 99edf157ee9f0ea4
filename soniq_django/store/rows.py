"""Between rows and values: what the ORM stores and what the contract speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from django.db.models import Q
from django.db.models.functions import Least

from soniq.backends.stored import failed_attempts
from soniq.ids import is_job_id
from soniq.jobs import Claim, DeadLetterReason, JobStatus, NewJob
from soniq.records import DeadLetter, DeadLetterFilter, WorkerRecord
from soniq.records import Job as JobRecord
from soniq.transitions import Change
from soniq_django.clock import instead_of_now
from soniq_django.fields import JSONText
from soniq_django.functions import DatabaseNow, from_now
from soniq_django.models import DeadLetterJob, Job, Worker
from soniq_django.times import aware, stored_time

CLAIM_COLUMNS = (
    "id",
    "job_name",
    "args",
    "queue",
    "priority",
    "attempts",
    "max_attempts",
    "crashes",
    "scheduled_at",
    "created_at",
    "context",
)

is_uuid = is_job_id


def new_job(job: NewJob) -> Job:
    """The row of a job that is enqueued."""
    row = Job(
        id=job.id,
        job_name=job.job_name,
        queue=job.queue,
        priority=job.priority,
        args=JSONText(job.args_json),
        args_hash=job.args_hash,
        dedup_key=job.dedup_key,
        unique_key=job.unique_key,
        max_attempts=job.max_attempts,
        producer_id=job.producer_id[:255],
        context=None if job.context_json is None else JSONText(job.context_json),
    )
    if instead_of_now() is not None:  # the columns' defaults know the database's clock alone
        row.created_at = row.updated_at = row.scheduled_at = cast("Any", DatabaseNow())
    if job.scheduled_at is not None:
        row.scheduled_at = stored_time(job.scheduled_at)
    elif job.delay:
        row.scheduled_at = cast("Any", from_now(job.delay))
    return row


def claim(row: Sequence[Any], worker_id: str) -> Claim:
    """A claim of the row (CLAIM_COLUMNS) as it was before it."""
    pk, name, args, queue, priority, attempts, max_attempts, crashes, scheduled, created, context = row
    return Claim(
        job_id=str(pk),
        worker_id=worker_id,
        attempt=attempts + 1,
        job_name=name,
        args=args,
        queue=queue,
        priority=priority,
        max_attempts=max_attempts,
        crashes=crashes,
        scheduled_at=aware(scheduled),
        created_at=aware(created),
        context=context,
    )


def orphan(row: Sequence[Any]) -> Claim:
    """The claim that the row (CLAIM_COLUMNS and worker_id) is held by."""
    held = claim(row[:-1], str(row[-1]))
    return held._replace(attempt=held.attempt - 1)


def without_identity(change: Change) -> Change:
    """What a change writes: equal for changes that one statement can write."""
    return change._replace(job_id="", worker_id=None, attempt=0, overdue=0.0)


def written(effect: Change) -> dict[str, Any]:
    """The columns that a change to another status writes."""
    columns: dict[str, Any] = {"status": effect.status, "updated_at": DatabaseNow()}
    if effect.attempts is not None:
        columns["attempts"] = effect.attempts
    if effect.crashes is not None:
        columns["crashes"] = effect.crashes
    if effect.error is not None:
        columns["last_error"] = effect.error
    if effect.status is JobStatus.QUEUED:
        due = from_now(effect.delay)
        columns["scheduled_at"] = Least("scheduled_at", due) if effect.sooner else due
        return columns
    columns["finished_at"] = DatabaseNow()
    columns["expires_at"] = None if effect.ttl is None else from_now(effect.ttl)
    columns["unique_key"] = None
    if effect.result_json is not None:
        columns["result"] = JSONText(effect.result_json)
    return columns


def dead_letter(job: Job, effect: Change, failures: str | None) -> DeadLetterJob:
    """The row that a buried job becomes.

    :param failures: its history with the last failure, as JSON text; None = as the job has it
    """
    letter = DeadLetterJob(
        id=job.id,
        job_name=job.job_name,
        queue=job.queue,
        priority=job.priority,
        # A row that somebody edited may hold the JSON null, which Django would write as NULL.
        args=JSONText("null") if job.args is None else job.args,
        max_attempts=job.max_attempts,
        attempts=job.attempts if effect.attempts is None else effect.attempts,
        last_error=job.last_error if effect.error is None else effect.error,
        dead_letter_reason=effect.reason or DeadLetterReason.PERMANENT_FAILURE,
        original_created_at=job.created_at,
        context=job.context,
        failures=job.failures if failures is None else JSONText(failures),
    )
    if instead_of_now() is not None:  # see new_job
        letter.moved_to_dead_letter_at = cast("Any", DatabaseNow())
    return letter


def dead_letter_conditions(where: DeadLetterFilter) -> Q:
    """What a filter asks of a row, tags apart."""
    asked = Q()
    if where.ids is not None:
        asked &= Q(pk__in=[job_id for job_id in where.ids if is_uuid(job_id)])
    if where.job_names is not None:
        asked &= Q(job_name__in=list(where.job_names))
    if where.queues is not None:
        asked &= Q(queue__in=list(where.queues))
    if where.reasons is not None:
        asked &= Q(dead_letter_reason__in=[str(reason) for reason in where.reasons])
    if where.date_from is not None:
        asked &= Q(moved_to_dead_letter_at__gte=stored_time(where.date_from))
    if where.date_to is not None:
        asked &= Q(moved_to_dead_letter_at__lt=stored_time(where.date_to))
    if where.has_been_resurrected is not None:
        replayed = Q(resurrection_count__gt=0)
        asked &= replayed if where.has_been_resurrected else ~replayed
    return asked


def job_record(row: Job) -> JobRecord:
    """A row of the jobs table as the contract speaks of it."""
    return JobRecord(
        id=str(row.pk),
        job_name=row.job_name,
        args=row.args,
        args_hash=row.args_hash,
        status=JobStatus(row.status),
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        crashes=row.crashes,
        priority=row.priority,
        queue=row.queue,
        dedup_key=row.dedup_key,
        scheduled_at=aware(row.scheduled_at),
        expires_at=maybe_aware(row.expires_at),
        last_error=row.last_error,
        result=row.result,
        producer_id=row.producer_id,
        worker_id=None if row.worker_id is None else str(row.worker_id),
        created_at=aware(row.created_at),
        updated_at=aware(row.updated_at),
        started_at=maybe_aware(row.started_at),
        finished_at=maybe_aware(row.finished_at),
        context=row.context,
        failures=failed_attempts(row.failures),
    )


def dead_letter_record(row: DeadLetterJob) -> DeadLetter:
    """A row of the dead-letter table as the contract speaks of it."""
    return DeadLetter(
        id=str(row.pk),
        job_name=row.job_name,
        args=row.args,
        queue=row.queue,
        priority=row.priority,
        max_attempts=row.max_attempts,
        attempts=row.attempts,
        last_error=row.last_error,
        dead_letter_reason=DeadLetterReason(row.dead_letter_reason),
        original_created_at=aware(row.original_created_at),
        moved_to_dead_letter_at=aware(row.moved_to_dead_letter_at),
        resurrection_count=row.resurrection_count,
        last_resurrection_at=maybe_aware(row.last_resurrection_at),
        tags=tuple(row.tags),
        context=row.context,
        failures=failed_attempts(row.failures),
    )


def worker_record(row: Worker) -> WorkerRecord:
    """A row of the workers table as the contract speaks of it."""
    return WorkerRecord(
        id=str(row.pk),
        hostname=row.hostname,
        pid=row.pid,
        concurrency=row.concurrency,
        queues=None if row.queues is None else tuple(row.queues),
        started_at=aware(row.started_at),
        last_heartbeat_at=aware(row.last_heartbeat_at),
    )


def maybe_aware(value: datetime | None) -> datetime | None:
    """:func:`aware`, for columns that may be empty."""
    return None if value is None else aware(value)
