"""A Celery task that is a soniq job: ``.delay()``, ``.apply_async()``, ``self.retry()``, ``self.request``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn, ParamSpec, TypeVar, Unpack, cast

from django.utils import timezone

from soniq import InvalidArguments, InvalidJob, JobContext, Task
from soniq.job_options import default_name
from soniq.task import Producer
from soniq_django.celery.options import (
    CeleryOptions,
    Ignore,
    MaxRetriesExceededError,
    Retry,
    SentKeywords,
    sent,
)
from soniq_django.celery.refusals import OF_TASK, Unsupported
from soniq_django.celery.result import AsyncResult
from soniq_django.times import meant_by

P = ParamSpec("P")
R = TypeVar("R")

_CONTEXT = "soniq_context_"  # the parameter by which the worker says which attempt this is


@dataclass(slots=True)
class Request:
    """``self.request``: what a task may know of the attempt that runs it."""

    id: str | None = None
    task: str | None = None  # its name
    retries: int = 0  # attempts before this one
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None
    hostname: str | None = None  # the worker's id
    delivery_info: Mapping[str, Any] | None = None
    called_directly: bool = True
    is_eager: bool = False
    wanted: Retry | None = None  # by self.retry(throw=False)

    def __getattr__(self, name: str) -> NoReturn:
        known = ", ".join(field for field in self.__dataclass_fields__ if field != "wanted")
        raise AttributeError(f"self.request has no {name!r} here; it has: {known}")


_request: ContextVar[Request | None] = ContextVar("soniq_celery_request", default=None)


class CeleryTask(Task[P, R]):
    """A job with the methods of a Celery task beside its own.

    ``.enqueue()`` and the rest of :class:`soniq.Task` work, too: change the callers one by one, and the
    declaration last.
    """

    def __init__(
        self, fn: Callable[P, R], *, name: str, options: CeleryOptions, producer: Callable[[], Producer]
    ) -> None:
        self.celery = options
        function: Callable[..., Any] = fn
        self.run = functools.partial(function, self) if self.celery.bind else function
        super().__init__(
            cast("Callable[P, R]", self._handler(fn, name)), name=name, options=options, producer=producer
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; no queue involved."""
        with _requested(Request(task=self.name, args=args, kwargs=kwargs)):
            return cast("R", self.run(*args, **kwargs))

    def __getattr__(self, name: str) -> NoReturn:
        if name in OF_TASK:
            raise Unsupported(f"task.{name}", OF_TASK[name])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __or__(self, other: object) -> NoReturn:
        raise Unsupported("task | task", OF_TASK["s"])

    @property
    def request(self) -> Request:
        """The attempt that runs here and now."""
        return _request.get() or Request()

    @property
    def max_retries(self) -> int:
        """Attempts after the first one."""
        return self.celery.max_retries

    @property
    def default_retry_delay(self) -> float:
        """Seconds that ``self.retry()`` waits unless told otherwise."""
        return self.celery.default_retry_delay

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult:
        """``enqueue``, with Celery's kind of answer. Belongs to the caller's transaction, as enqueue does."""
        return AsyncResult(self.enqueue(*args, **kwargs))

    delay_on_commit = delay

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SentKeywords],
    ) -> AsyncResult:
        """Enqueue; options: ``queue``, ``priority`` (higher first), ``countdown`` (seconds), ``eta`` (aware).

        :raises Unsupported: soniq has no counterpart of an option; nothing was written
        :raises InvalidArguments: they do not fit the function or cannot be stored; nothing was written
        """
        chosen = sent(options).over(self.defaults)
        if isinstance(args, (str, Mapping)):
            raise InvalidArguments(f"args is {args!r}: give a list of positional arguments")
        bound = self.signature.bind(tuple(args or ()), dict(kwargs or {}))
        return AsyncResult(self._producer().enqueue(self, bound, chosen))

    apply_async_on_commit = apply_async

    def retry(  # noqa: PLR0917  # Celery's order
        self,
        args: object = None,
        kwargs: object = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """End this attempt and ask for another one; raises, unless ``throw`` is False.

        :param exc: raised instead when no retry is left
        :param max_retries: fewer than the task declares
        :raises Retry: there will be another attempt
        :raises MaxRetriesExceededError: none is left, and there is no ``exc``
        :raises Unsupported: the next attempt was to differ in more than its time
        """
        request = self.request
        for name, value in {"args": args, "kwargs": kwargs, **options}.items():
            if value is not None:
                raise Unsupported(
                    f"retry({name}=...)", "a retry is the same job again; enqueue another one, and return"
                )
        if max_retries is not None and max_retries > self.max_retries:
            raise Unsupported(
                f"retry(max_retries={max_retries}) above the task's {self.max_retries}",
                f"declare max_retries={max_retries} on the task",
            )
        if request.called_directly:
            raise exc or Retry("called directly, so there is nothing to retry")
        if request.retries >= (self.max_retries if max_retries is None else max_retries):
            raise exc or MaxRetriesExceededError(f"{self.name} {request.id}: no retry is left")
        error = Retry(exc=exc, when=_seconds_until(eta, countdown, self.default_retry_delay))
        if throw:
            raise error from exc
        request.wanted = error
        return error

    def _handler(self, fn: Callable[..., Any], name: str) -> Callable[..., Any]:
        """``fn`` as soniq calls it: with keywords alone, and with the context of the job."""

        def request_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
            context: JobContext = kwargs.pop(_CONTEXT)
            return Request(
                id=context.job_id,
                task=context.job_name,
                retries=context.attempt - 1,
                args=args,
                kwargs=kwargs,
                hostname=context.worker_id,
                delivery_info={"routing_key": context.queue},
                called_directly=False,
            )

        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def handler(*args: Any, **kwargs: Any) -> Any:
                with _requested(request_of(args, kwargs)) as request:
                    try:
                        value = await self.run(*args, **kwargs)
                    except Ignore:
                        return None
                    return self._ended(request, value)
        else:

            @functools.wraps(fn)
            def handler(*args: Any, **kwargs: Any) -> Any:
                with _requested(request_of(args, kwargs)) as request:
                    try:
                        value = self.run(*args, **kwargs)
                    except Ignore:
                        return None
                    return self._ended(request, value)

        parameters = _own_parameters(fn, name, bind=self.celery.bind)
        context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=JobContext)
        last = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
        before = parameters[: len(parameters) - len(last)]
        signature = inspect.Signature([*before, context, *last])
        handler.__signature__ = signature  # type: ignore[attr-defined]  # what inspect.signature looks for
        handler.__annotations__ = {**getattr(fn, "__annotations__", {}), _CONTEXT: JobContext}
        return handler

    def _ended(self, request: Request, value: Any) -> Any:
        if request.wanted is not None:
            raise request.wanted
        return None if self.celery.ignore_result else value


@contextmanager
def _requested(request: Request) -> Iterator[Request]:
    token = _request.set(request)
    try:
        yield request
    finally:
        _request.reset(token)


def _own_parameters(fn: Callable[..., Any], name: str, *, bind: bool) -> list[inspect.Parameter]:
    """The parameters that arguments are stored for."""
    parameters = list(inspect.signature(fn).parameters.values())
    if bind:
        if not parameters:
            raise InvalidJob(
                f"{name} has bind=True and no parameter to bind; write def {fn.__name__}(self, ...)"
            )
        parameters = parameters[1:]
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise InvalidJob(
                f"{default_name(fn)} takes *{parameter.name}; arguments are stored by name, so give it a "
                "parameter that takes a list"
            )
    return parameters


def _seconds_until(eta: datetime | None, countdown: float | None, default: float) -> float:
    if eta is None:
        return max(0.0, default if countdown is None else countdown)
    instant = eta if timezone.is_aware(eta) else meant_by(eta)
    if instant is None:
        raise InvalidJob(f"eta is the naive {eta.isoformat()}: give it a time zone")
    return max(0.0, (instant - timezone.now()).total_seconds())
