"""``shared_task`` and ``app.task``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, Literal, NoReturn, ParamSpec, Protocol, TypeVar, Unpack, overload

from soniq.default import shared
from soniq.job_options import check_name, default_name
from soniq.registry import check_function
from soniq_django.celery.options import SentKeywords, TaskKeywords, declared, sent
from soniq_django.celery.refusals import NAMES, Unsupported
from soniq_django.celery.result import AsyncResult
from soniq_django.celery.task import CeleryTask
from soniq_django.conf import current_app

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator(Protocol):
    """What ``@shared_task(...)`` with options gives."""

    def __call__(self, fn: Callable[P, R], /) -> CeleryTask[P, R]:
        """Make ``fn`` a task."""
        ...


class BoundTaskDecorator(Protocol):
    """What ``@shared_task(bind=True)`` gives."""

    def __call__(self, fn: Callable[Concatenate[Any, P], R], /) -> CeleryTask[P, R]:
        """Make ``fn`` a task that gets itself as its first argument."""
        ...


@overload
def shared_task(fn: Callable[P, R], /) -> CeleryTask[P, R]: ...
@overload
def shared_task(*, bind: Literal[True], **options: Unpack[TaskKeywords]) -> BoundTaskDecorator: ...
@overload
def shared_task(*, bind: Literal[False] = False, **options: Unpack[TaskKeywords]) -> TaskDecorator: ...
def shared_task(fn: Callable[..., Any] | None = None, /, *, bind: bool = False, **options: Any) -> Any:
    """Make a function a job with the methods of a Celery task. Bare, or with Celery's options.

    :raises Unsupported: soniq has no counterpart of an option; names what to do instead
    :raises InvalidJob: a value is impossible, or the name is taken by another function
    """
    if fn is not None:
        return _task(fn, bind=bind, options=options)
    return lambda fn: _task(fn, bind=bind, options=options)


class CeleryApp:
    """Stands in for a project's ``Celery`` object, as far as its tasks need it."""

    def __init__(self) -> None:
        self.task = shared_task

    def send_task(
        self,
        name: str,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SentKeywords],
    ) -> AsyncResult:
        """Enqueue a job by its name.

        :raises UnknownTask: no job of that name is registered here
        """
        app = current_app()
        target = app.producer.task(name)
        bound = target.signature.bind(tuple(args or ()), dict(kwargs or {}))
        return AsyncResult(app.producer.enqueue(target, bound, sent(options)))

    def AsyncResult(self, id: str) -> AsyncResult:  # noqa: N802  # Celery's names
        """A job by its id."""
        return AsyncResult(id)

    def __getattr__(self, name: str) -> NoReturn:
        raise Unsupported(
            f"app.{name}", NAMES.get(name, "settings are in settings.SONIQ, workers in soniq_worker")
        )


def _task(fn: Callable[..., Any], *, bind: bool, options: dict[str, Any]) -> CeleryTask[..., Any]:
    check_function(fn)
    given = dict(options)
    name = given.pop("name", None)
    task: CeleryTask[..., Any] = CeleryTask(
        fn,
        name=default_name(fn) if name is None else check_name(name),
        options=declared(given, bind=bind),
        producer=lambda: current_app().producer,
    )
    shared.add(task)
    return task
