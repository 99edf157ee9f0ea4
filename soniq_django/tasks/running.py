"""Results of tasks while they run, and the signals about them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from soniq import get_default_app
from soniq.jobs import Claim
from soniq.records import Job
from soniq.transitions import Change
from soniq_django.tasks.arguments import shown
from soniq_django.tasks.compat import (
    AnyResult,
    AnyTask,
    TaskResult,
    TaskResultStatus,
    task_backends,
    task_finished,
    task_started,
)
from soniq_django.tasks.facts import enqueued_at, task_error, task_errors, workers_of
from soniq_django.tasks.stored import backend_of, kept_of
from soniq_django.times import stored_time


def started(task: AnyTask, claim: Claim) -> AnyResult:
    """The result of a task whose attempt begins now."""
    # The history of a first attempt is empty; that of a later one is worth a statement.
    record = get_default_app().backend.get_job(claim.job_id) if claim.attempt > 1 else None
    failures = record.failures if isinstance(record, Job) else ()
    now = timezone.now()
    first = failures[0].started_at if failures else None
    kept = kept_of(claim.context)
    args, kwargs = shown(claim.args)
    return TaskResult(
        task=task,
        id=claim.job_id,
        status=TaskResultStatus.RUNNING,
        enqueued_at=enqueued_at(claim.job_id, kept, claim.created_at),
        started_at=now if first is None else stored_time(first),
        finished_at=None,
        last_attempted_at=now,
        args=args,
        kwargs=kwargs,
        backend=backend_of(kept, task.backend),
        errors=task_errors(failures),
        worker_ids=[*workers_of(failures, claim.attempt - 1), claim.worker_id],
    )


def finish(result: AnyResult, change: Change, value: Any) -> None:
    """Make it the result of a task that ended.

    :param value: what the task returned
    """
    done = change.verb == "succeed"
    status = TaskResultStatus.SUCCESSFUL if done else TaskResultStatus.FAILED
    object.__setattr__(result, "status", status)
    object.__setattr__(result, "finished_at", stored_time(datetime.now(UTC)))
    if done:
        object.__setattr__(result, "_return_value", value)
    elif change.failure is not None:
        result.errors.append(task_error(change.failure.error_class, change.error or ""))


def send_started(result: AnyResult) -> None:
    """Tell that an attempt begins; a receiver that raises changes nothing for the task."""
    task_started.send_robust(sender=_sender(result), task_result=result)


def send_finished(result: AnyResult, error: BaseException | None) -> None:
    """Tell that the task has ended; while its exception is being handled, if it raised one."""
    if error is None or sys.exc_info()[1] is error:
        task_finished.send_robust(sender=_sender(result), task_result=result)
        return
    trace = error.__traceback__
    try:
        raise error  # noqa: TRY301  # receivers ask sys.exc_info(), and may be on another thread than the task
    except BaseException:  # noqa: BLE001  # raised one line above
        task_finished.send_robust(sender=_sender(result), task_result=result)
    finally:
        error.__traceback__ = trace


def _sender(result: AnyResult) -> type:
    """The class of the task's backend."""
    from soniq_django.tasks.backend import SoniqBackend  # noqa: PLC0415  # imports the jobs

    return type(task_backends[result.backend]) if result.backend in task_backends.settings else SoniqBackend
