"""Soniq as a backend of Django's Tasks (``django.tasks``; before Django 6.0 the package ``django-tasks``).

::

    TASKS = {"default": {"BACKEND": "soniq_django.tasks.SoniqBackend"}}

Tests may use ``soniq_django.tasks.ImmediateBackend`` or ``DummyBackend``, which take the same options.
Nothing here imports models: ``@task`` makes its backend while apps are still being loaded.
"""

from soniq_django.tasks.backend import SoniqBackend
from soniq_django.tasks.decorator import task
from soniq_django.tasks.dummy import DummyBackend
from soniq_django.tasks.errors import AttemptLost, JobCancelled, UnsupportedArguments
from soniq_django.tasks.immediate import ImmediateBackend
from soniq_django.tasks.task import SoniqTask

__all__ = [
    "AttemptLost",
    "DummyBackend",
    "ImmediateBackend",
    "JobCancelled",
    "SoniqBackend",
    "SoniqTask",
    "UnsupportedArguments",
    "task",
]
