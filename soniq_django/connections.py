"""The database connections of job code: healthy before a job, clean after it.

A slot's thread keeps its connections from job to job. Django's default ``CONN_MAX_AGE`` of 0 would
close them after each job, which costs a reconnect per job; so here 0 means: keep, and check after a
pause. What a job leaves behind (an open transaction, an aborted one, autocommit off) is rolled back
and the connection thrown away, so that the next job starts on a clean one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, TypeVar

from asgiref.sync import ThreadSensitiveContext
from django.db import connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq.environment import Environment
from soniq_django.times import meant_by

logger = logging.getLogger("soniq.worker")

T = TypeVar("T")

CHECK_AFTER = 5.0  # seconds a connection may rest before it is checked


class DjangoEnvironment(Environment):
    """Sync jobs and the ORM calls of async jobs run on their slot's thread and its connections."""

    def aware(self, naive: datetime) -> datetime | None:
        """See :class:`soniq.environment.Environment`."""
        return meant_by(naive)

    @contextmanager
    def around_sync(self) -> Iterator[None]:
        """See :class:`soniq.environment.Environment`."""
        prepare()
        try:
            yield
        finally:
            tidy()

    def around_async(self, thread: Executor) -> AbstractAsyncContextManager[None]:
        """See :class:`soniq.environment.Environment`."""
        return _orm_on(thread)


@asynccontextmanager
async def _orm_on(thread: Executor) -> AsyncIterator[None]:
    """Within the block, ``sync_to_async`` and the async ORM use ``thread``.

    A job that makes no such call costs the thread nothing.
    """
    visitor = _Visitor(thread)
    try:
        async with ThreadSensitiveContext(executor=visitor):
            yield
    finally:
        if visitor.visited:
            thread.submit(tidy)


class _Visitor(Executor):
    """Hands calls on to a slot's thread; before the first one it prepares the connections there."""

    def __init__(self, thread: Executor) -> None:
        self._thread = thread
        self.visited = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        if not self.visited:
            self.visited = True
            self._thread.submit(prepare)
        return self._thread.submit(fn, *args, **kwargs)


_rest = threading.local()  # when this thread's last job ended


def prepare() -> None:
    """Before a job, on its thread: forget logged queries, replace connections that broke meanwhile."""
    reset_queries()
    rested = time.monotonic() - getattr(_rest, "since", 0.0)
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if _outlived(connection) or (rested > CHECK_AFTER and not connection.is_usable()):
            connection.close()


def tidy() -> None:
    """After a job, on its thread: roll back what it left open, drop what it broke."""
    for connection in connections.all(initialized_only=True):
        try:
            _tidy(connection)
        except Exception:
            logger.exception("could not clean the connection %r; it is replaced", connection.alias)
            del connections[connection.alias]
    _rest.since = time.monotonic()
    reset_queries()


def _tidy(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is None and not connection.in_atomic_block:
        return
    if connection.in_atomic_block or not connection.get_autocommit():
        logger.warning("a job left a transaction open on %r; it is rolled back", connection.alias)
        try:
            connection.close()
        finally:
            # A wrapper that was closed inside atomic() can never connect again.
            del connections[connection.alias]
    elif connection.errors_occurred:
        connection.errors_occurred = False
        if not connection.is_usable():
            connection.close()


def _outlived(connection: BaseDatabaseWrapper) -> bool:
    """Whether a lifetime that the project set (CONN_MAX_AGE above 0) is over."""
    if not connection.settings_dict["CONN_MAX_AGE"]:
        return False
    return connection.close_at is not None and time.monotonic() >= connection.close_at
