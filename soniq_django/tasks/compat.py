"""One name for each part of the Tasks API: Django's own from 6.0 on, before that ``django-tasks``.

Where both are installed, Django's own counts: the backport's decorator then makes tasks of Django's kind,
because it asks the backend for its task class.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

# Not a try around the imports: an error inside of the package found must be seen.
IN_DJANGO = find_spec("django.tasks") is not None

if TYPE_CHECKING or IN_DJANGO:
    from django.tasks import task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.backends.dummy import DummyBackend
    from django.tasks.backends.immediate import ImmediateBackend
    from django.tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
elif find_spec("django_tasks") is not None:
    from django_tasks import task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.backends.dummy import DummyBackend
    from django_tasks.backends.immediate import ImmediateBackend
    from django_tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started
else:
    raise ImproperlyConfigured(
        "soniq_django.tasks needs the Tasks API: Django 6.0 or later has it, for Django 5.2 run "
        "pip install 'soniq-django[tasks]'"
    )

if TYPE_CHECKING:
    AnyTask = Task[..., Any]
    AnyResult = TaskResult[..., Any]
else:
    AnyTask = Task  # Django's classes take no parameters
    AnyResult = TaskResult

__all__ = [
    "IN_DJANGO",
    "AnyResult",
    "AnyTask",
    "BaseTaskBackend",
    "DummyBackend",
    "ImmediateBackend",
    "InvalidTask",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]
