"""Where the jobs of a test run: on its own thread and connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq.backend import JobTransaction
from soniq.environment import Environment
from soniq.steady import get_logger
from soniq_django.conf import read_settings
from soniq_django.times import meant_by

logger = get_logger("soniq.testing")

T = TypeVar("T")


class TestEnvironment(Environment):
    """Jobs use the test's own thread and connection, so they see what its transaction holds.

    A statement that fails does not cost the test its transaction, and what a job hands to
    ``transaction.on_commit()`` is called when the job's code has ended, as the transaction of a test never
    commits.
    """

    supports_transactions = True  # atomic jobs of an app in memory: all that they write, or nothing
    __test__ = False  # not a test class, whatever pytest makes of the name

    def aware(self, naive: datetime) -> datetime | None:
        """See :class:`soniq.environment.Environment`."""
        return meant_by(naive)

    def job_transaction(self) -> JobTransaction:
        """On the database of the project's jobs, within the test's own transaction if it has one."""
        from soniq_django.atomic import OrmTransaction  # noqa: PLC0415  # needs Django to be set up
        from soniq_django.store.tables import Tables  # noqa: PLC0415  # as above

        return OrmTransaction(Tables(read_settings().database).alias)

    def submit(self, thread: Executor, call: Callable[[], T]) -> Awaitable[T]:
        """See :class:`soniq.environment.Environment`."""
        return sync_to_async(call, thread_sensitive=True)()

    def around_sync(self) -> AbstractContextManager[None]:
        """See :class:`soniq.environment.Environment`."""
        return WithinTransaction()


def in_event_loop() -> bool:
    """Whether the calling thread runs an event loop at present."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class WithinTransaction:
    """Around code that would have had a connection of its own, within the transactions open on this thread.

    In a worker each statement outside of ``atomic()`` commits by itself, so a failed one undoes nothing but
    itself. Here PostgreSQL refuses everything after it, until a savepoint is rolled back. So then, and only
    then, all that the code wrote is undone.
    """

    def __init__(self) -> None:
        self._open: list[tuple[BaseDatabaseWrapper, str | None, int]] = []

    def __enter__(self) -> None:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block and not connection.needs_rollback:
                self._open.append((connection, connection.savepoint(), len(connection.run_on_commit)))

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        failed: Exception | None = None
        for connection, savepoint, callbacks in self._open:
            if connection.needs_rollback or not connection.is_usable():
                connection.needs_rollback = False
                if savepoint is not None:
                    connection.savepoint_rollback(savepoint)
                del connection.run_on_commit[callbacks:]
                continue
            try:
                _call_back(connection, callbacks)
            except Exception as raised:  # noqa: BLE001  # raised below, once all connections are in order
                failed = failed or raised
            if savepoint is not None:
                connection.savepoint_commit(savepoint)
        if failed is not None:
            if error is None:
                raise failed
            logger.error("a callback of on_commit() failed after the job had", exc_info=failed)


def _call_back(connection: BaseDatabaseWrapper, known: int) -> None:
    """Call what was handed to on_commit() behind the first ``known`` callbacks, and what that hands on."""
    while len(connection.run_on_commit) > known:
        added: list[Any] = connection.run_on_commit[known:]
        del connection.run_on_commit[known:]
        for _, callback, robust in added:
            try:
                callback()
            except Exception:
                if not robust:
                    raise
                logger.exception("a robust callback of on_commit() failed; the job goes on")
