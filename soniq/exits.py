"""SystemExit and KeyboardInterrupt of job code, kept from the event loop.

asyncio lets these two escape from any task and ends the loop with them. In the task that a worker made
for a job they are caught; a task that the job itself made must not end the worker either. So while a
worker runs, tasks that are made from within a job raise :class:`JobExit` instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from soniq.errors import SoniqError

in_job: ContextVar[bool] = ContextVar("soniq_in_job", default=False)


class JobExit(SoniqError):
    """A task of a job raised SystemExit or KeyboardInterrupt; it is the cause of this."""

    code = "job_exit"


@contextmanager
def contained_exits() -> Iterator[None]:
    """Within the block, the running loop's tasks made by jobs cannot end the loop.

    A loop that has a task factory of its own keeps it.
    """
    loop = asyncio.get_running_loop()
    if loop.get_task_factory() is not None:
        yield
        return
    loop.set_task_factory(_make_task)
    try:
        yield
    finally:
        loop.set_task_factory(None)


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    **options: Any,
) -> asyncio.Task[Any]:
    if in_job.get() and asyncio.iscoroutine(coro):
        coro = _contained(coro)
    return asyncio.Task(coro, loop=loop, **options)


async def _contained(coro: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coro
    except (SystemExit, KeyboardInterrupt) as error:
        raise JobExit(f"a task of the job raised {type(error).__name__}") from error
