"""What our three backends have in common: the task class, its validation, the checks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core import checks

from soniq.codec import encode_arguments
from soniq.errors import ConfigurationError, InvalidArguments, InvalidEnqueue, InvalidJob, PayloadTooLarge
from soniq.job_options import MAX_NAME
from soniq.jobs import JSON
from soniq.settings import check_queue
from soniq_django.tasks.arguments import has_naive_time, plainer
from soniq_django.tasks.compat import AnyTask, BaseTaskBackend, InvalidTask, Task, TaskResult
from soniq_django.tasks.errors import UnsupportedArguments
from soniq_django.tasks.job import TaskJob, job_of
from soniq_django.tasks.limits import limits
from soniq_django.tasks.options import check_options
from soniq_django.tasks.task import SoniqTask

P = ParamSpec("P")
R = TypeVar("R")


class SoniqTaskBackend(BaseTaskBackend):
    """A backend whose tasks have our options. Instances are made for each thread, and hold nothing."""

    task_class = SoniqTask
    supports_async_task = True
    supports_priority = True
    needs_app = False  # whether it can do nothing without soniq_django in INSTALLED_APPS

    def validate_task(self, task: AnyTask) -> None:
        """Refuse what cannot run; make known to workers what can.

        :raises InvalidTask: says what is wrong
        """
        super().validate_task(task)
        if inspect.isgeneratorfunction(task.func) or inspect.isasyncgenfunction(task.func):
            raise InvalidTask(f"{task.module_path} is a generator function: a call would run none of it.")
        try:
            self.job_for(task)
            check_queue(task.queue_name, InvalidEnqueue)
        except (InvalidJob, InvalidEnqueue) as error:
            raise InvalidTask(str(error)) from None

    async def aenqueue(
        self, task: Task[P, R], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> TaskResult[P, R]:
        """``enqueue()`` for async code."""
        return await sync_to_async(self.enqueue, thread_sensitive=True)(task, args, kwargs or {})

    def job_for(self, task: AnyTask) -> TaskJob:
        """The job that the task stands for, with its options.

        :raises InvalidJob: an option is impossible
        """
        return job_of(task).for_task(task)

    def call(
        self, job: TaskJob, args: Any, kwargs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, JSON]]:
        """The arguments of a call under their names, and the JSON that is stored of them, which results show.

        :raises InvalidTask: workers could not find the task
        :raises TypeError: the arguments do not fit the task, or cannot be stored
        """
        if "<" in job.name or len(job.name) > MAX_NAME:
            raise InvalidTask(
                f"Task function must be importable by its name: {job.name!r} is none, or longer than "
                f"{MAX_NAME} characters."
            )
        try:
            bound = job.signature.bind(tuple(args), kwargs)
        except InvalidArguments as error:
            raise UnsupportedArguments(str(error), path=error.path) from None
        if settings.USE_TZ and has_naive_time(bound):
            raise UnsupportedArguments("Unsupported type: a naive datetime; use timezone.make_aware(...)")
        try:
            return self._stored(job, bound)
        except PayloadTooLarge:
            raise
        except InvalidArguments as error:
            raise UnsupportedArguments(f"Unsupported type: {error}", path=error.path) from None

    def _stored(self, job: TaskJob, bound: dict[str, Any]) -> tuple[dict[str, Any], dict[str, JSON]]:
        limit = limits().max_args_bytes
        try:
            return bound, encode_arguments(bound, limit=limit, types=job.types)[0]
        except PayloadTooLarge:
            raise
        except InvalidArguments:
            bound = plainer(bound)
            return bound, encode_arguments(bound, limit=limit, types=job.types)[0]

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """System checks of this entry of TASKS; asks no database."""
        return [*super().check(**kwargs), *self._check()]

    def _check(self) -> Iterable[checks.CheckMessage]:
        if self.needs_app and not apps.is_installed("soniq_django"):
            yield checks.Error(
                f"TASKS[{self.alias!r}] uses {type(self).__name__}, but its tables are missing.",
                hint="Add 'soniq_django' to INSTALLED_APPS.",
                id="soniq.tasks.E001",
            )
        try:
            check_options(self.options)
        except ConfigurationError as error:
            yield checks.Error(
                f"TASKS[{self.alias!r}]: {error}",
                hint="OPTIONS takes options of @task, such as max_retries; those of workers are in SONIQ.",
                id="soniq.tasks.E002",
            )
        for name in sorted(self.queues, key=str):
            try:
                check_queue(name)
            except ConfigurationError as error:
                yield checks.Error(f"TASKS[{self.alias!r}]['QUEUES']: {error}", id="soniq.tasks.E003")
