"""An enqueue by a handler of an operating-system signal, which may interrupt the use of its own connection.

Python calls such a handler on the main thread, between any two steps of whatever runs there. If that is a
statement on the connection, psycopg waits for a lock that its own thread holds, and the drivers of MariaDB
and MySQL take each other's answers. If it is the beginning or the end of a transaction, what the driver and
Django know of it differs, and a statement or a block in between undoes what the program relies on.
"""

from __future__ import annotations

import inspect
import threading
from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.transaction import Atomic

from soniq.errors import InvalidEnqueue

ACTIVE = 1  # libpq's PQTRANS_ACTIVE: a statement was sent, and is not over
USES = frozenset(
    {"_execute", "_executemany", "__enter__", "__exit__", "commit", "rollback", "set_autocommit", "close"}
)
CALLBACKS = "run_and_clear_commit_hooks"  # of the program; when Django calls them, the transaction is over


def refuse_in_mid_use(connection: BaseDatabaseWrapper) -> None:
    """Refuse an enqueue that interrupts a statement on ``connection``, or the begin or end of a transaction.

    :raises InvalidEnqueue: it does
    """
    # Other threads are not interrupted; and before there is a session, nothing can be in the middle of it.
    if threading.get_ident() != threading.main_thread().ident or connection.connection is None:
        return
    if _is_locked(connection) or (not _is_at_rest(connection) and _is_used_further_out(connection)):
        raise InvalidEnqueue(
            f"this call interrupts a statement on the connection {connection.alias!r}, or the begin or end "
            "of a transaction, as handlers of signals do: enqueue on a thread, or where the program goes on"
        )


def load_early() -> None:
    """Import what the first enqueue needs: a handler that interrupts an import finds half a module."""
    try:
        vendors = {connection.vendor for connection in connections.all()}
    except ImproperlyConfigured:
        return  # a driver is missing, say; whoever needs the database is told
    if "postgresql" in vendors:
        from django.db.backends.postgresql.psycopg_any import is_psycopg3  # noqa: PLC0415  # needs psycopg

        if is_psycopg3:
            import_module("soniq_django.store.postgres")


def _is_locked(connection: BaseDatabaseWrapper) -> bool:
    """Whether psycopg is in the middle of a statement, whoever asked for it."""
    session: Any = connection.connection
    lock = getattr(session, "lock", None)
    if lock is None or connection.allow_thread_sharing:  # then another thread may hold it, and gives it back
        return False
    return bool(lock.locked() or session.pgconn.transaction_status == ACTIVE)


def _is_at_rest(connection: BaseDatabaseWrapper) -> bool:
    """Whether it is certain, without looking at the callers, that nothing is in the middle of anything."""
    session: Any = connection.connection
    autocommit: bool = connection.autocommit
    if connection.vendor == "postgresql":
        as_django_says = getattr(session, "autocommit", None) == autocommit
    elif connection.vendor == "sqlite":
        as_django_says = session.in_transaction != autocommit
    else:
        return False  # the driver does not say
    return as_django_says and (autocommit or connection.in_atomic_block)


def _is_used_further_out(connection: BaseDatabaseWrapper) -> bool:
    """Whether one of the callers is at work on the connection: they are Django's functions named above."""
    frame = inspect.currentframe()
    while frame is not None:
        name = frame.f_code.co_name
        if name in USES and _works_on(frame.f_locals.get("self"), connection):
            return True
        if name == CALLBACKS and frame.f_locals.get("self") is connection:
            return False
        frame = frame.f_back
    return False


def _works_on(it: object, connection: BaseDatabaseWrapper) -> bool:
    if isinstance(it, CursorWrapper):
        return it.db is connection
    if isinstance(it, Atomic):
        return (it.using or DEFAULT_DB_ALIAS) == connection.alias
    return it is connection
