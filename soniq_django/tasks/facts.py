"""Single facts of a job in the terms of Django's Tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from soniq.ids import made_at
from soniq.jobs import JSON
from soniq.records import FailedAttempt
from soniq_django.tasks.compat import TaskError
from soniq_django.tasks.errors import AttemptLost
from soniq_django.tasks.stored import ENQUEUED_AT, time_in
from soniq_django.times import stored_time

UNKNOWN_WORKER = "unknown"  # of attempts that a job's history does not reach back to


def task_error(class_path: str | None, text: str) -> TaskError:
    """An error; without a class, that of an attempt that raised nothing."""
    path = class_path or f"{AttemptLost.__module__}.{AttemptLost.__qualname__}"
    return TaskError(exception_class_path=path, traceback=f"{text.rstrip()}\n")


def task_errors(failures: Sequence[FailedAttempt]) -> list[TaskError]:
    """One error for each failed attempt."""
    return [task_error(failure.error_class, failure.error) for failure in failures]


def workers_of(failures: Sequence[FailedAttempt], count: int) -> list[str]:
    """The workers of the attempts 1 to ``count``, as far as a job's history knows them."""
    known = {failure.attempt: failure.worker_id for failure in failures}
    return [known.get(attempt, UNKNOWN_WORKER) for attempt in range(1, count + 1)]


def enqueued_at(job_id: str, kept: JSON, created_at: datetime) -> datetime:
    """When a task was enqueued, so that ``enqueue()`` and every later look say the same.

    :param kept: what was kept of the task; says it where the id does not
    :param created_at: for jobs that neither says it of
    """
    said = time_in(kept.get(ENQUEUED_AT)) if isinstance(kept, dict) else None
    return said or stored_time(made_at(job_id) or created_at)
