"""What an application hangs around its jobs: hooks, middleware, a metrics sink.

Hooks watch: an exception in one is logged and never changes the outcome. Middleware wraps: it may
change the result or raise.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from soniq.jobs import JobContext
from soniq.steady import get_logger

logger = get_logger("soniq.hooks")

Hook: TypeAlias = Callable[..., Any]  # sync or async
CallNext: TypeAlias = Callable[[], Awaitable[Any]]
Middleware: TypeAlias = Callable[[JobContext, CallNext], Awaitable[Any]]
H = TypeVar("H", bound=Hook)
M = TypeVar("M", bound=Middleware)


class MetricsSink(Protocol):
    """Receives one start and one end per attempt.

    It is called in the event loop and on the threads of jobs, from several at a time, and must not wait for
    anything. A sink may have more methods; those that it has are called:

    - ``record_enqueued(*, job_name, queue, count)``: so many jobs were written, in the caller's transaction
    - ``record_job_latency(*, job_name, queue, seconds)``: so long a job was due before it started, by the
      clocks of database and worker
    - ``record_dead_letter(*, job_name, queue, reason)``: a job has become a dead letter
    - ``record_listener_lost(*, reason)``: the worker heard of new jobs at once, and now listens anew:
      "connection" if that broke, "unheard" if what it sent to itself did not arrive
    - ``around_job(claim)``: gives a context manager to enter around the code of an attempt
    """

    def record_job_start(self, *, job_name: str, queue: str) -> None:
        """An attempt begins."""

    def record_job_end(self, *, job_name: str, queue: str, status: str, duration_s: float) -> None:
        """An attempt ended, and that was recorded.

        :param status: the verb of the change: succeed, retry, bury, snooze, interrupt; or "dropped", if the
            claim was lost before
        """


@dataclass(slots=True)
class Hooks:
    """Hooks and middleware in the order in which they were registered."""

    before: list[Hook] = field(default_factory=list)
    after: list[Hook] = field(default_factory=list)
    error: list[Hook] = field(default_factory=list)
    around: list[Middleware] = field(default_factory=list)

    def before_job(self, hook: H) -> H:
        """Call ``hook(job_name, job_id, attempt)`` before each attempt."""
        self.before.append(hook)
        return hook

    def after_job(self, hook: H) -> H:
        """Call ``hook(job_name, job_id, duration_ms)`` after each attempt that returned."""
        self.after.append(hook)
        return hook

    def on_error(self, hook: H) -> H:
        """Call ``hook(job_name, job_id, error, attempt)`` after each attempt that raised.

        ``error`` is the exception itself.
        """
        self.error.append(hook)
        return hook

    def middleware(self, wrapper: M) -> M:
        """Wrap each attempt in ``await wrapper(ctx, call_next)``; the first registered is outermost."""
        self.around.append(wrapper)
        return wrapper

    def joined(self, other: Hooks) -> Hooks:
        """These hooks, then those of ``other``."""
        return Hooks(
            before=self.before + other.before,
            after=self.after + other.after,
            error=self.error + other.error,
            around=self.around + other.around,
        )

    @property
    def need_loop(self) -> bool:
        """Whether anything here must be awaited, so that sync jobs cannot run wholly in their thread."""
        return bool(self.around) or any(is_async(hook) for hook in (*self.before, *self.after, *self.error))


def is_async(hook: Hook) -> bool:
    """Whether calling the hook gives something to await."""
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__)


def call_hooks(hooks: list[Hook], *args: object) -> None:
    """Call sync hooks; log what they raise."""
    for hook in hooks:
        try:
            answer = hook(*args)
            if inspect.iscoroutine(answer):
                answer.close()
                logger.error("hook %r is sync and returned a coroutine; declare it async", hook)
        except BaseException:  # a hook must never decide about a job
            logger.exception("hook %r failed; the job goes on", hook)


async def await_hook(hook: Hook, *args: object) -> None:
    """Await an async hook; log what it raises."""
    try:
        await hook(*args)
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # the worker stops; a hook that raises this on its own is like any other
        logger.exception("hook %r failed; the job goes on", hook)
