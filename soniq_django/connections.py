"""The database connections of job code: healthy before a job, clean after it.

A slot's thread keeps its connections from job to job. Django's default ``CONN_MAX_AGE`` of 0 would
close them after each job, which costs a reconnect per job; so here 0 means: keep, and check after a
pause. What a job leaves behind (an open transaction, an aborted one, autocommit off) is rolled back
and the connection thrown away, so that the next job starts on a clean one. So is one whose session the job
has changed: see :mod:`soniq_django.session_state`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from contextvars import Context, ContextVar
from datetime import datetime
from typing import Any, TypeVar

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq.environment import Environment, JobThread, Surroundings
from soniq.steady import get_logger
from soniq_django.session_state import session_changed, watch_sessions
from soniq_django.times import meant_by

logger = get_logger("soniq.worker")

T = TypeVar("T")

IDLE = 0  # psycopg's TransactionStatus.IDLE; psycopg may not be installed
IN_TRANSACTION = 1  # MySQL's SERVER_STATUS_IN_TRANS
CHECK_AFTER = 5.0  # seconds a connection may rest before it is checked


class DjangoEnvironment(Environment):
    """Sync jobs and the ORM calls of async jobs run on their slot's thread and its connections."""

    async def load(self, call: Callable[[], T]) -> T:
        """See :class:`soniq.environment.Environment`."""
        return await sync_to_async(call)()

    def aware(self, naive: datetime) -> datetime | None:
        """See :class:`soniq.environment.Environment`."""
        return meant_by(naive)

    def visit(self, thread: Executor, call: Callable[[], T]) -> Awaitable[T]:
        """See :class:`soniq.environment.Environment`: as the job's own ORM calls go."""
        return sync_to_async(call, thread_sensitive=True)()

    def around_sync(self) -> AbstractContextManager[None]:
        """See :class:`soniq.environment.Environment`."""
        return _AROUND_SYNC

    def around_async(self, thread: JobThread) -> Surroundings:
        """See :class:`soniq.environment.Environment`."""
        return OrmSurroundings(thread)


class _AroundSync:
    def __enter__(self) -> None:
        prepare()

    def __exit__(self, *raised: object) -> None:
        tidy()


_AROUND_SYNC = _AroundSync()


class OrmSurroundings(Surroundings):
    """``sync_to_async`` and the async ORM of the slot's jobs use its thread.

    A job that makes no such call costs the thread nothing.
    """

    def __init__(self, thread: JobThread) -> None:
        super().__init__()
        self._thread = thread
        self._sensitive = ThreadSensitiveContext(executor=_Visitors(thread))
        self._context.run(_at_once, self._sensitive.__aenter__)

    def enter(self) -> Context:
        """See :class:`soniq.environment.Surroundings`."""
        context = super().enter()
        context.run(_visit.set, Visit())
        return context

    def leave(self, context: Context) -> None:
        """See :class:`soniq.environment.Surroundings`."""
        visit = context[_visit]
        visit.over = True
        if visit.made and not visit.clean:
            self._thread.submit(tidy)

    def close(self) -> None:
        """See :class:`soniq.environment.Surroundings`."""
        self._context.run(_at_once, self._sensitive.__aexit__, None, None, None)


class Visit:
    """The calls that one async job makes on its slot's thread."""

    def __init__(self) -> None:
        self.made = False
        self.clean = False  # whether the last call left the connections as the next job needs them
        self.over = False

    def call(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Runs on the thread."""
        if not self.made:
            self.made = True
            prepare()
        self.clean = False
        try:
            return fn(*args, **kwargs)
        finally:
            self.clean = all(map(_is_clean, connections.all(initialized_only=True)))
            _rest.since = time.monotonic()


_visit: ContextVar[Visit] = ContextVar("soniq_visit")


class _Visitors(Executor):
    """Hands calls on to a slot's thread, for the job that makes them."""

    def __init__(self, thread: JobThread) -> None:
        self._thread = thread

    def submit(  # type: ignore[override]  # loops take a future of their own as it is (asyncio.wrap_future)
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[T]:
        visit = _visit.get()
        if visit.over:
            raise RuntimeError(
                "the job that started this task has ended, and its database connection went to the next "
                "job; await all tasks before the job returns"
            )
        return self._thread.answer(visit.call, fn, *args, **kwargs)


def _at_once(call: Callable[..., Coroutine[Any, Any, object]], *args: object) -> None:
    """Run a coroutine that waits for nothing, outside of any task."""
    try:
        call(*args).send(None)
    except StopIteration:
        return
    raise RuntimeError("asgiref's ThreadSensitiveContext waits for something, which it never did")


_rest = threading.local()  # when this thread's last job ended


def prepare() -> None:
    """Before a job, on its thread: replace connections that broke while the thread had nothing to do."""
    watch_sessions()
    since = getattr(_rest, "since", None)
    if since is not None and time.monotonic() - since < CHECK_AFTER:
        return  # the job before has left them clean
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not connection.is_usable():
            connection.close()


def tidy() -> None:
    """After a job, on its thread: roll back what it left open, drop what it broke, forget logged queries."""
    for connection in connections.all(initialized_only=True):
        if _is_clean(connection):
            continue
        try:
            _tidy(connection)
        except Exception:
            logger.exception("could not clean the connection %r; it is replaced", connection.alias)
            del connections[connection.alias]
    _rest.since = time.monotonic()


def _is_clean(connection: BaseDatabaseWrapper) -> bool:
    """Whether the next job may use the connection as it is. Asks the database nothing."""
    if connection.in_atomic_block or connection.queries_log:
        return False
    if connection.connection is None:
        return True
    return (
        connection.autocommit
        and not connection.errors_occurred
        and not session_changed(connection)
        and not _outlived(connection)
        and _is_at_rest(connection)
    )


def _is_at_rest(connection: BaseDatabaseWrapper) -> bool:
    """Whether the driver's connection is open, and in no transaction; a job can see to both behind Django."""
    driver = connection.connection
    if connection.vendor == "sqlite":
        try:
            return not driver.in_transaction
        except sqlite3.ProgrammingError:  # closed
            return False
    if connection.vendor == "mysql":
        # mysqlclient cannot say whether it is in a transaction, PyMySQL knows from the server's last answer.
        status = getattr(driver, "server_status", None) or 0
        return bool(driver.open) and not status & IN_TRANSACTION
    session = getattr(driver, "pgconn", None)  # of psycopg 3; others cannot say without asking the server
    return session is None or session.transaction_status == IDLE


def _tidy(connection: BaseDatabaseWrapper) -> None:
    connection.queries_log.clear()
    if connection.connection is None and not connection.in_atomic_block:
        return
    changed = session_changed(connection)
    if changed and connection.connection is not None and getattr(connection, "pool", None):
        connection.connection.close()  # else the pool would hand the session on as it is
    if connection.in_atomic_block or not connection.get_autocommit():
        logger.warning("a job left a transaction open on %r; it is rolled back", connection.alias)
        try:
            connection.close()
        finally:
            # A wrapper that was closed inside atomic() can never connect again.
            del connections[connection.alias]
    elif changed or _outlived(connection):
        connection.close()
    elif not _is_at_rest(connection):
        logger.warning("a job closed %r, or left a transaction open on it; it is replaced", connection.alias)
        connection.errors_occurred = False
        connection.close()
    elif connection.errors_occurred:
        connection.errors_occurred = False
        if not connection.is_usable():
            connection.close()


def _outlived(connection: BaseDatabaseWrapper) -> bool:
    """Whether a lifetime that the project set (CONN_MAX_AGE above 0) is over."""
    if not connection.settings_dict["CONN_MAX_AGE"]:
        return False
    return connection.close_at is not None and time.monotonic() >= connection.close_at
