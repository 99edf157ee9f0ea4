"""``@task`` with our options, on every Django: that of 6.0 takes none but Django's own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, Unpack, overload

from soniq_django.tasks.compat import task_backends
from soniq_django.tasks.options import TaskKeywords
from soniq_django.tasks.task import SoniqTask

if TYPE_CHECKING:
    from soniq_django.tasks.compat import TaskContext

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator(Protocol):
    """What ``@task(...)`` with options gives."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> SoniqTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SoniqTask[P, R]: ...


class ContextTaskDecorator(Protocol):
    """What ``@task(takes_context=True)`` gives: the worker hands the context over, an enqueue does not."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[TaskContext[Any, Any], P], Coroutine[Any, Any, R]], /
    ) -> SoniqTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[TaskContext[Any, Any], P], R], /) -> SoniqTask[P, R]: ...


@overload
def task(function: Callable[P, Coroutine[Any, Any, R]], /) -> SoniqTask[P, R]: ...
@overload
def task(function: Callable[P, R], /) -> SoniqTask[P, R]: ...
@overload
def task(
    function: None = None,
    /,
    *,
    priority: int = 0,
    queue_name: str = "default",
    backend: str = "default",
    takes_context: Literal[True],
    **options: Unpack[TaskKeywords],
) -> ContextTaskDecorator: ...
@overload
def task(
    function: None = None,
    /,
    *,
    priority: int = 0,
    queue_name: str = "default",
    backend: str = "default",
    takes_context: Literal[False] = False,
    **options: Unpack[TaskKeywords],
) -> TaskDecorator: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    priority: int = 0,
    queue_name: str = "default",
    backend: str = "default",
    takes_context: bool = False,
    **options: Any,
) -> Any:
    """Make a function a task of Django's Tasks.

    The same as ``django.tasks.task``, which takes ``options`` from Django 6.1 on.

    :param options: see :class:`soniq_django.tasks.SoniqTask`
    :raises TypeError: the task class of the backend has no such option
    """
    if "run_after" in options:
        raise TypeError(
            "run_after cannot be defined statically with the @task decorator. "
            "It belongs to one enqueue: give it to using()."
        )

    def declared(fn: Callable[..., Any]) -> Any:
        return task_backends[backend].task_class(
            func=fn,
            priority=priority,
            queue_name=queue_name,
            backend=backend,
            takes_context=takes_context,
            run_after=None,
            **options,
        )

    return declared if function is None else declared(function)
