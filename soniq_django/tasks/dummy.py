"""``soniq_django.tasks.DummyBackend``: stores tasks in memory and never runs them; for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ParamSpec, TypeVar

from soniq_django.tasks import compat
from soniq_django.tasks.arguments import shown
from soniq_django.tasks.base import SoniqTaskBackend
from soniq_django.tasks.compat import Task, TaskResult

P = ParamSpec("P")
R = TypeVar("R")


class DummyBackend(SoniqTaskBackend, compat.DummyBackend):
    """Django's dummy backend for tasks with our options. ``results`` are those of this thread."""

    def enqueue(
        self, task: Task[P, R], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> TaskResult[P, R]:
        """Keep the call in ``results``.

        :raises InvalidTask: the task cannot run
        :raises TypeError: the arguments do not fit the task, or could not be stored
        """
        self.validate_task(task)
        args, kwargs = shown(self.call(self.job_for(task), args, kwargs or {})[1])
        return super().enqueue(task, args, kwargs)
