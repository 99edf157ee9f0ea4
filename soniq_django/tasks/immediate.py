"""``soniq_django.tasks.ImmediateBackend``: runs tasks as they are enqueued; for tests and development."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from traceback import format_exception
from typing import Any, ParamSpec, TypeVar

from django.utils import timezone

from soniq.arguments import decode
from soniq.codec import encode_result, load, references_in
from soniq.errors import ReferenceGone
from soniq.failures import class_path
from soniq.ids import uuid7_text
from soniq_django.atomic import OrmTransaction
from soniq_django.conf import read_settings
from soniq_django.tasks import compat
from soniq_django.tasks.arguments import shown
from soniq_django.tasks.base import SoniqTaskBackend
from soniq_django.tasks.compat import (
    AnyResult,
    Task,
    TaskContext,
    TaskResult,
    TaskResultStatus,
    task_enqueued,
    task_finished,
    task_started,
)
from soniq_django.tasks.facts import task_error
from soniq_django.tasks.job import TaskJob
from soniq_django.tasks.limits import limits

P = ParamSpec("P")
R = TypeVar("R")


class ImmediateBackend(SoniqTaskBackend, compat.ImmediateBackend):
    """Django's immediate backend for tasks with our options: runs each task once, on the thread and in the
    transaction of whoever enqueues it.

    Arguments and results pass through their stored form, as they do with a worker, ``missing`` and ``atomic``
    hold, and a task that fails is not run again, whatever its ``max_retries``. ``timeout`` stops nobody.
    """

    def enqueue(
        self, task: Task[P, R], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> TaskResult[P, R]:
        """Run a call of the task; its result says whether it succeeded.

        :raises InvalidTask: the task cannot run
        :raises TypeError: the arguments do not fit the task, or could not be stored
        """
        self.validate_task(task)
        job = self.job_for(task)
        _, stored = self.call(job, args, kwargs or {})
        args, kwargs = shown(stored)
        result: TaskResult[P, R] = TaskResult(
            task=task,
            id=uuid7_text(),
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        task_enqueued.send(type(self), task_result=result)
        self._run(result, job, stored)
        return result

    def _run(self, result: AnyResult, job: TaskJob, stored: dict[str, Any]) -> None:
        now = timezone.now()
        _set(result, status=TaskResultStatus.RUNNING, started_at=now, last_attempted_at=now)
        result.worker_ids.append(self.worker_id)
        task_started.send(type(self), task_result=result)
        try:
            with _transaction_of(job):
                value = self._returned(result, job, stored)
            _set(result, _return_value=value)
        except KeyboardInterrupt:
            raise  # somebody wants the program to end, not the task
        except BaseException as error:  # noqa: BLE001  # SystemExit of a task must not end a request
            text = "".join(format_exception(error))
            result.errors.append(task_error(class_path(error), text))
            _set(result, status=TaskResultStatus.FAILED, finished_at=timezone.now())
            task_finished.send(type(self), task_result=result)  # here: receivers ask sys.exc_info()
        else:
            _set(result, status=TaskResultStatus.SUCCESSFUL, finished_at=timezone.now())
            task_finished.send(type(self), task_result=result)

    def _returned(self, result: AnyResult, job: TaskJob, stored: dict[str, Any]) -> Any:
        """What the task returns, as a worker would store it."""
        references = load(references_in(list(stored.values())), job.types)
        try:
            args, kwargs = job.call_arguments(stored, _no_context, references)
        except ReferenceGone:
            if job.options.missing != "discard":
                raise
            return None
        if result.task.takes_context:
            args = (TaskContext(task_result=result), *args)
        value = result.task.call(*args, **kwargs)
        if value is None:
            return None
        limit = limits().max_result_bytes
        try:
            text = encode_result(value, limit=limit, types=job.types)
        except Exception as error:  # noqa: BLE001  # a value's own methods may raise anything
            text = encode_result(job.instead_of(value, error), limit=limit, types=job.types)
        return job.returned(decode(text))


@contextmanager
def _transaction_of(job: TaskJob) -> Iterator[None]:
    """Around the code of an atomic task: what it wrote is rolled back if it fails."""
    if not job.options.atomic:
        yield
        return
    from soniq_django.store.tables import Tables  # noqa: PLC0415  # needs the models

    around = OrmTransaction(Tables(read_settings().database).alias)
    around.begin()
    try:
        yield
        around.check()
    except BaseException:
        around.roll_back()
        raise
    around.commit()


def _set(result: AnyResult, **attributes: Any) -> None:
    """Results are frozen; Django's own backends write to them like this."""
    for name, value in attributes.items():
        object.__setattr__(result, name, value)


def _no_context() -> Any:
    raise AssertionError("a task's context is a TaskContext")
