"""The soniq job that a task stands for: how it is called in a worker, and whom that tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Self

from asgiref.sync import sync_to_async
from django.conf import settings

from soniq import get_default_app
from soniq.arguments import decode
from soniq.codec import Loaded, Types, Unloaded, decode_values, encode_values
from soniq.default import shared
from soniq.errors import InvalidJob, JobTimeout, ReferenceGone, UnknownTask
from soniq.job_options import EnqueueOptions, JobOptions
from soniq.jobs import JSON, Claim, JobContext
from soniq.task import Task as Job
from soniq.transitions import Change
from soniq_django.tasks import running
from soniq_django.tasks.arguments import CallSignature, plainer
from soniq_django.tasks.compat import AnyResult, AnyTask, TaskContext
from soniq_django.tasks.limits import limits
from soniq_django.tasks.options import job_options, job_priority
from soniq_django.tasks.policy import final
from soniq_django.tasks.stored import is_missing, kept_of, stored_task
from soniq_django.tasks.task import own_options


class TaskJob(Job[..., Any]):
    """A task in soniq's registry, under its module path.

    :param task: as it was declared
    """

    observes = True

    def __init__(self, task: AnyTask) -> None:
        super().__init__(
            task.func,
            name=task.module_path,
            options=options_of(task),
            producer=lambda: get_default_app().producer,
        )
        self.signature = CallSignature(task.func, task.module_path, takes_context=task.takes_context)
        self.task = task
        self._given_up: set[tuple[str, str, int]] = set()  # attempts whose code still runs; shared by copies
        self._claim: Claim | None = None
        self._unfit: BaseException | None = None
        self._result: AnyResult | None = None

    def for_task(self, task: AnyTask) -> TaskJob:
        """The job of a copy of the task that was made with ``using()``."""
        return self._copy(options=options_of(task))

    def placed_as(self, task: AnyTask) -> TaskJob:
        """A copy of the job, not registered, with queue and priority of a copy of the task."""
        moved, raised = task.queue_name != self.task.queue_name, task.priority != self.task.priority
        defaults = EnqueueOptions(
            queue=task.queue_name if moved else None,
            priority=job_priority(task.priority) if raised else None,
        )
        return self._copy(defaults=defaults)

    def for_claim(self, claim: Claim) -> TaskJob:
        """See :class:`soniq.task.Task`."""
        twin = self._copy(_claim=claim)
        twin.fn = twin._acall if self.is_async else twin._call  # noqa: SLF001  # a copy of ourselves
        kept = kept_of(claim.context)
        if kept is not None:
            twin.task = stored_task(self.task, kept, queue=claim.queue, priority=claim.priority)
            if twin.task.backend != self.task.backend or (isinstance(kept, dict) and "using" in kept):
                with suppress(InvalidJob, TypeError):  # a row that was edited is run as the task was declared
                    twin.options = options_of(twin.task)
        return twin

    @property
    def declared(self) -> AnyTask:
        """See :class:`soniq.task.Task`."""
        return self.task

    @property
    def types(self) -> Types:
        """See :class:`soniq.task.Task`."""
        return _types_of(self.task.func)

    def call_arguments(
        self,
        stored: object,
        context: Callable[[], JobContext],
        loaded: Loaded | None = None,
        *,
        unseen: bool = False,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """See :class:`soniq.task.Task`. In a worker, what is wrong with them is the failure of the call."""
        try:
            if self._claim is None and isinstance(stored, dict):
                self.signature.bind((), stored)
            return super().call_arguments(stored, context, loaded, unseen=unseen)
        except Unloaded:
            raise
        except BaseException as error:
            if self._claim is None or (
                isinstance(error, ReferenceGone) and self.options.missing == "discard"
            ):
                raise
            self._unfit = final(error)
            return (), {}

    def instead_of(self, value: Any, error: BaseException) -> Any:
        """Django's Tasks take more for JSON than what is stored as it is.

        :raises TypeError: the value is no JSON, so the task has failed; its work is not done again
        """
        try:
            other = plainer(value)
            encode_values(other, limit=limits().max_result_bytes, types=self.types)
        except Exception:  # noqa: BLE001  # a value's own methods may raise anything
            other = None
        if other is None:
            raise final(TypeError(f"Unsupported type: it is not JSON serializable: {error}")) from None
        return other

    def returned(self, stored: JSON) -> Any:
        """What the task returned, of its stored form; that form itself if it cannot be read any more."""
        try:
            return decode_values(stored, types=self.types, missing="none", path="result")
        except Exception:  # noqa: BLE001  # classes that are gone, a database that is away
            return stored

    def ended(self, claim: Claim, change: Change, error: BaseException | None) -> None:
        """Send ``task_finished`` if this was the end. See :class:`soniq.task.Task`."""
        attempt = (claim.job_id, claim.worker_id, claim.attempt)
        if attempt in self._given_up:  # and now its code has returned, too late
            self._given_up.discard(attempt)
            return
        if self._result is None and isinstance(error, JobTimeout):  # a thread that nobody can stop
            self._given_up.add(attempt)
        if change.verb not in ("succeed", "bury"):
            return
        result = self._result or running.started(self.task, claim)
        running.finish(result, change, self._decoded(change))
        running.send_finished(result, error)

    def _decoded(self, change: Change) -> Any:
        return None if change.result_json is None else self.returned(decode(change.result_json))

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        return self.task.func(*self._begin(args), **kwargs)

    async def _acall(self, *args: Any, **kwargs: Any) -> Any:
        args = await sync_to_async(self._begin, thread_sensitive=True)(args)
        return await self.task.func(*args, **kwargs)

    def _begin(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Tell that the attempt begins; give the positional arguments of the function."""
        assert self._claim is not None  # noqa: S101  # only copies for a claim are called
        self._result = result = running.started(self.task, self._claim)
        running.send_started(result)
        if self._unfit is not None:
            raise self._unfit
        return (TaskContext(task_result=result), *args) if self.task.takes_context else args

    def _copy(self, **changes: Any) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, **changes)
        return twin


@lru_cache(maxsize=1024)
def _types_of(func: Callable[..., Any]) -> Types:
    return Types.of(func)


def job_of(task: AnyTask) -> TaskJob:
    """The job of a task; registered, if it is not yet.

    :raises InvalidJob: an option is impossible, another job has its name, or its code is gone
    """
    if is_missing(task):  # a worker that knew it would claim jobs that it cannot run
        raise InvalidJob(str(UnknownTask(task.module_path)))
    known = shared.find(task.module_path)
    if isinstance(known, TaskJob) and known.task.func is task.func:
        return known
    job = TaskJob(task)
    shared.add(job)
    return job


def settings_changed() -> None:
    """The OPTIONS of backends may have changed; tests change settings."""
    for name in shared:
        job = shared.find(name)
        if isinstance(job, TaskJob):
            with suppress(InvalidJob):  # `check` says what is wrong with OPTIONS
                job.options = options_of(job.task)


def options_of(task: AnyTask) -> JobOptions:
    """A task's options over those of its backend.

    :raises InvalidJob: one is impossible
    """
    return job_options(
        own_options(task),
        backend_options(task.backend),
        queue=task.queue_name,
        priority=task.priority,
    )


def backend_options(alias: str) -> Mapping[str, Any]:
    """The OPTIONS of a backend; none of one that there is no more."""
    entries = getattr(settings, "TASKS", None)
    entry = entries.get(alias) if isinstance(entries, dict) else None
    options = entry.get("OPTIONS") if isinstance(entry, dict) else None
    return options if isinstance(options, Mapping) else {}
