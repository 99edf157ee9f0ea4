"""What surrounds the code of a job: the thread it runs on, and what is set up and torn down there.

A framework replaces this: in Django a job's thread owns a database connection, which must be healthy
before the job and clean after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from datetime import datetime
from typing import Any, Protocol, TypeVar

from soniq.backend import JobTransaction

T = TypeVar("T")


class JobThread(Protocol):
    """The thread of a slot: it runs one call at a time, in order."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` on the thread. Called on any thread."""
        ...

    def answer(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> asyncio.Future[T]:
        """The same, called in the event loop, with a future of the loop."""
        ...


class Surroundings:
    """What surrounds the jobs that one slot runs in the event loop, as long as it has the same thread.

    Called in the event loop. None of this may raise: a slot that cannot be entered can run no job.
    """

    def __init__(self) -> None:
        self._context = copy_context()

    def enter(self) -> Context:
        """The context to run one job in; what the job changes there ends with it."""
        return self._context.copy()

    def leave(self, context: Context) -> None:
        """The job that ran in ``context`` has ended."""

    def close(self) -> None:
        """No further job comes; what earlier ones left running may no longer use the thread."""


class Environment:
    """Plain Python: sync code runs on the thread of its slot, nothing is set up around it."""

    # Does job_transaction() give one? For atomic jobs on a store that has no transactions itself.
    supports_transactions = False

    def submit(self, thread: Executor, call: Callable[[], T]) -> Awaitable[T]:
        """Run sync code of a job; ``thread`` is its slot's."""
        return asyncio.get_running_loop().run_in_executor(thread, call)

    async def load(self, call: Callable[[], T]) -> T:
        """Make a blocking call of the framework for async code outside of jobs."""
        return call()

    def visit(self, thread: Executor, call: Callable[[], T]) -> Awaitable[T]:
        """Run sync code where that of the present async job runs, and leave everything as it is after it.

        ``thread`` is the slot's. Awaited in the job's own task.
        """
        return self.submit(thread, call)

    def job_transaction(self) -> JobTransaction:
        """A transaction for the handler of an atomic job; see :meth:`StorageBackend.job_transaction`."""
        raise NotImplementedError

    def aware(self, naive: datetime) -> datetime | None:
        """The instant that a time without a zone means here; None: it could be any."""
        return None

    def around_sync(self) -> AbstractContextManager[None]:
        """Entered on the thread, around the sync code of one job."""
        return nullcontext()

    def around_async(self, thread: JobThread) -> Surroundings:
        """What surrounds the async jobs of a slot; ``thread`` is the slot's."""
        return Surroundings()
