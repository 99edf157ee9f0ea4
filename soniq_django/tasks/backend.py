"""``soniq_django.tasks.SoniqBackend``: tasks are soniq jobs, run by ``manage.py soniq_worker``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from soniq import get_default_app
from soniq.ids import uuid7_text
from soniq.job_options import EnqueueOptions
from soniq.jobs import JSON
from soniq_django.tasks.arguments import shown
from soniq_django.tasks.base import SoniqTaskBackend
from soniq_django.tasks.compat import (
    AnyResult,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
)
from soniq_django.tasks.facts import enqueued_at
from soniq_django.tasks.options import ID_FUNCTION, id_function
from soniq_django.tasks.results import find_result
from soniq_django.tasks.stored import ENQUEUED_AT, KEY, to_store
from soniq_django.tasks.task import own_options

P = ParamSpec("P")
R = TypeVar("R")


class SoniqBackend(SoniqTaskBackend):
    """Stores tasks as jobs of the default app, under their module path.

    OPTIONS may hold defaults of the options that ``@task`` takes besides Django's: ``max_retries``,
    ``retry_delay``, ``timeout``, ... And ``id_function``: a function, or its path, that makes the ids of
    tasks, each a UUID that there never was before. Without it they are UUIDv7: they sort by their time, and
    tell it.
    """

    supports_defer = True
    supports_get_result = True
    needs_app = True

    def enqueue(
        self, task: Task[P, R], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> TaskResult[P, R]:
        """Store a call of the task, in the transaction that the caller has open; return its result to be.

        With ``unique`` or ``dedup_key``, while another job excludes it, nothing is stored, and the result is
        that of the other.

        :raises InvalidTask: the task cannot run with this backend
        :raises TypeError: the arguments do not fit the task, or cannot be stored
        """
        self.validate_task(task)
        app = get_default_app()
        job = self.job_for(task)
        bound, stored = self.call(job, args, kwargs or {})
        kept = to_store(task, job.task, through=self.alias)
        wanted = uuid7_text()
        if ID_FUNCTION in self.options:
            wanted = self._own_id()
            kept[ENQUEUED_AT] = datetime.now(UTC).isoformat()
        options = EnqueueOptions(
            job_id=wanted,
            scheduled_at=task.run_after,
            dedup_key=own_options(task).get("dedup_key"),
            context={KEY: kept},
        )
        job_id = app.producer.enqueue(job, bound, options)
        if job_id != wanted:
            holder = find_result(job_id)
            if holder is not None:
                return cast("TaskResult[P, R]", holder)
        result = self._ready_result(task, job_id, kept, stored)
        task_enqueued.send_robust(sender=type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> AnyResult:
        """The result of a task, whichever process enqueued it; also of one whose code was deleted.

        A finished job is kept for ``result_ttl`` seconds, a dead letter until it is deleted.

        :raises TaskResultDoesNotExist: there is none (any more), or it is that of a job which is no task
        """
        found = find_result(result_id) if isinstance(result_id, (str, UUID)) else None
        if found is None:
            raise TaskResultDoesNotExist(result_id)
        return found

    def _own_id(self) -> str:
        made = id_function(self.options)()
        try:
            return str(made if isinstance(made, UUID) else UUID(str(made)))
        except ValueError:
            raise ImproperlyConfigured(
                f"TASKS[{self.alias!r}]: id_function returned {made!r:.80}; give one that returns a UUID"
            ) from None

    def _ready_result(
        self, task: Task[P, R], job_id: str, kept: dict[str, JSON], stored: Mapping[str, Any]
    ) -> TaskResult[P, R]:
        args, kwargs = shown(stored)
        return TaskResult(
            task=task,
            id=job_id,
            status=TaskResultStatus.READY,
            enqueued_at=enqueued_at(job_id, kept, datetime.now(UTC)),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
