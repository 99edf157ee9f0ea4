"""A worker's own session: its statements are planned once.

To plan a claim takes PostgreSQL ten times as long as to carry it out, which is what an idle worker's next
job waits for. Prepared statements live in the session, though, and a pooler in transaction mode hands
sessions around. So they are used only where sessions are known to be our own: where a listener, which
needs the same of its session, hears itself; or where the project set ``prepare_threshold`` for Django.

A claim is made for READ COMMITTED: at a stricter level two workers that reach for the same rows make one of
them fail, instead of leaving the rows to the other. So a worker asks for that level whatever the server, the
role or ``OPTIONS`` say: the driver adds it to each BEGIN, which costs nothing. A statement outside of a
transaction has no BEGIN; :meth:`OwnSessions.reads_committed` says whether it needs one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, cast

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq_django.connections import IDLE
from soniq_django.store import sql

TRANSACTION_TIMEOUT_SINCE = 170000  # the server's version
READ_COMMITTED = "read committed"


class OwnSessions:
    """Which sessions were set up for prepared statements."""

    def __init__(self) -> None:
        self._ready: weakref.WeakSet[psycopg.Connection[Any]] = weakref.WeakSet()
        self._defaults: weakref.WeakKeyDictionary[psycopg.Connection[Any], str] = weakref.WeakKeyDictionary()
        self._proven: Callable[[], bool] = lambda: False

    def proven_by(self, proof: Callable[[], bool]) -> None:
        """From now on ask ``proof`` whether sessions are our own."""
        self._proven = proof

    def of(self, connection: BaseDatabaseWrapper) -> psycopg.Connection[Any]:
        """The open session of ``connection``; set up first, if it may be and was not."""
        connection.ensure_connection()
        session = cast("psycopg.Connection[Any]", connection.connection)
        idle = session.autocommit and session.info.transaction_status == IDLE
        if session not in self._defaults and idle:  # else asking would begin a transaction
            self._defaults[session] = _default_level(session)
            session.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        if session not in self._ready and not connection.in_atomic_block and self._may_prepare(session):
            self.set_up(session, local=False)
            session.prepare_threshold = 0
            self._ready.add(session)
        return session

    def set_up(self, session: psycopg.Connection[Any], *, local: bool) -> None:
        """Apply a worker's settings, to the whole session or (``local``) to the open transaction."""
        newer = session.info.server_version >= TRANSACTION_TIMEOUT_SINCE
        psycopg.Cursor(session).execute(sql.SETTINGS_17 if newer else sql.SETTINGS, {"local": local})

    def are_set_up(self, session: psycopg.Connection[Any]) -> bool:
        """Whether the planner's settings hold for all of the session."""
        return session in self._ready

    def reads_committed(self, session: psycopg.Connection[Any]) -> bool:
        """Whether a statement outside of a transaction runs at READ COMMITTED."""
        return session in self._ready or self._defaults.get(session) == READ_COMMITTED

    def _may_prepare(self, session: psycopg.Connection[Any]) -> bool:
        return session.prepare_threshold is not None or self._proven()


def _default_level(session: psycopg.Connection[Any]) -> str:
    """The level of a transaction that does not name one. Asked once per session."""
    found = psycopg.Cursor(session).execute("SHOW default_transaction_isolation").fetchone()
    return "" if found is None else str(found[0])
