"""Results of tasks, as the tables know them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from soniq import get_default_app
from soniq.app import Soniq
from soniq.ids import canonical
from soniq.jobs import DeadLetterReason, JobStatus
from soniq.records import DeadLetter, DeadLetterFilter, Job
from soniq_django.tasks.arguments import shown
from soniq_django.tasks.compat import AnyResult, AnyTask, TaskError, TaskResult, TaskResultStatus
from soniq_django.tasks.errors import JobCancelled
from soniq_django.tasks.facts import UNKNOWN_WORKER, enqueued_at, task_error, task_errors, workers_of
from soniq_django.tasks.job import TaskJob
from soniq_django.tasks.stored import backend_of, kept_of, missing_task, stored_task
from soniq_django.times import stored_time

STATUS = {
    JobStatus.QUEUED: TaskResultStatus.READY,
    JobStatus.PROCESSING: TaskResultStatus.RUNNING,
    JobStatus.DONE: TaskResultStatus.SUCCESSFUL,
    JobStatus.CANCELLED: TaskResultStatus.FAILED,
}


def find_result(result_id: str, app: Soniq | None = None) -> AnyResult | None:
    """The result of a task, one statement for a live or finished job, two for one that gave up.

    None: there is no such job (any more), or it is that of no task. Deleted code does not matter.
    """
    app = app or get_default_app()
    job_id = canonical(result_id)
    record: Job | DeadLetter | None = app.backend.get_job(job_id)
    if record is None:
        record = next(iter(app.backend.list_dead_letters(DeadLetterFilter(ids=[job_id], limit=1))), None)
    if record is None:
        return None
    kept = kept_of(record.context)
    app.registry.learn([record.job_name])
    job = app.registry.find(record.job_name)
    known = job if isinstance(job, TaskJob) else None
    if known is None and kept is None:
        return None
    declared: AnyTask = missing_task(record.job_name) if known is None else known.task
    task = stored_task(declared, kept, queue=record.queue, priority=record.priority)
    result = result_of(record, task)
    if isinstance(record, Job) and record.status is JobStatus.DONE:
        value = record.result if known is None else known.returned(record.result)
        object.__setattr__(result, "_return_value", value)
    return result


def result_of(record: Job | DeadLetter, task: AnyTask) -> AnyResult:
    """What the tables say of a task's job, its return value apart."""
    args, kwargs = shown(record.args)
    kept = kept_of(record.context)
    made = record.original_created_at if isinstance(record, DeadLetter) else record.created_at
    return TaskResult(
        task=task,
        id=record.id,
        status=TaskResultStatus.FAILED if isinstance(record, DeadLetter) else STATUS[record.status],
        enqueued_at=enqueued_at(record.id, kept, made),
        **_times(record),
        args=args,
        kwargs=kwargs,
        backend=backend_of(kept, task.backend),
        errors=_errors(record),
        worker_ids=_workers(record),
    )


def _errors(record: Job | DeadLetter) -> list[TaskError]:
    """One for each failed attempt, and one for having been cancelled, or for code that is gone."""
    errors = task_errors(record.failures)
    if isinstance(record, DeadLetter):
        if record.dead_letter_reason is DeadLetterReason.JOB_NOT_FOUND:
            if record.failures and record.failures[-1].error == record.last_error:
                del errors[-1]  # the same, told by a worker that had claimed it
            errors.append(task_error(_path(ImportError), f"ImportError: {record.last_error}"))
        elif record.failures and record.last_error is not None:  # the history has it shortened
            errors[-1] = task_error(record.failures[-1].error_class, record.last_error)
        elif record.last_error is not None:
            errors = [task_error(None, record.last_error)]
    elif record.status is JobStatus.CANCELLED:
        errors.append(task_error(_path(JobCancelled), str(JobCancelled.__doc__)))
    return errors


def _workers(record: Job | DeadLetter) -> list[str]:
    """One worker for each attempt that counts, in their order."""
    workers = workers_of(record.failures, record.attempts)
    if workers and isinstance(record, Job) and record.status in (JobStatus.PROCESSING, JobStatus.DONE):
        workers[-1] = record.worker_id or UNKNOWN_WORKER
    return workers


def _times(record: Job | DeadLetter) -> dict[str, datetime | None]:
    failures = record.failures
    first = failures[0].started_at if failures else None
    if isinstance(record, DeadLetter):
        last = failures[-1].started_at if failures else None
        finished: datetime | None = record.moved_to_dead_letter_at
    else:
        last = record.started_at if record.attempts else None  # not of a start that was given back
        finished = record.finished_at
    times = {"started_at": first or last, "last_attempted_at": last, "finished_at": finished}
    return {name: None if value is None else stored_time(value) for name, value in times.items()}


def _path(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
