"""Celery's way to write tasks, on soniq: for projects that move file by file.

Replace ``from celery import shared_task`` by ``from soniq_django.celery import shared_task`` in one module of
tasks; its tasks are soniq's jobs from then on, and their callers stay as they are. Celery is not needed.
What soniq cannot do is refused with the next step, as the module is imported wherever that can be known.
"""

from typing import NoReturn

from soniq_django.celery.decorators import CeleryApp, shared_task
from soniq_django.celery.options import Ignore, MaxRetriesExceededError, Retry
from soniq_django.celery.refusals import NAMES, Unsupported
from soniq_django.celery.result import AsyncResult, ResultGone, TaskFailed, TimeoutError  # noqa: A004  # Celery's name
from soniq_django.celery.task import CeleryTask, Request
from soniq_django.celery.task import CeleryTask as Task

__all__ = [
    "AsyncResult",
    "CeleryTask",
    "Ignore",
    "MaxRetriesExceededError",
    "Request",
    "ResultGone",
    "Retry",
    "Task",
    "TaskFailed",
    "TimeoutError",
    "Unsupported",
    "app",
    "shared_task",
]

app = CeleryApp()


def __getattr__(name: str) -> NoReturn:
    if name in NAMES:
        # An AttributeError would be told as "cannot import name", without the next step.
        raise ImportError(f"soniq has no counterpart of celery.{name}: {NAMES[name]}", name=name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
