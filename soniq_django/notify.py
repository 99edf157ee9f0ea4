"""Wake-ups: NOTIFY after the commit, LISTEN on a connection of its own. PostgreSQL only.

The poll is the truth, a NOTIFY is a hint: it says "look now", carries a queue name and nothing else, and
may be lost with the process that was to send it.

It is sent after the commit, in a statement of its own. Inside the transaction it would take a lock that
the whole server shares until the commit is flushed, so all transactions that enqueue would commit one
after the other.

The listener's loop: connect, LISTEN, wait. Every ``PROBE_EVERY`` seconds it notifies itself, over another
connection: on its own, a pooler in transaction mode may deliver the notification with the answer to the
very statement that sent it, and never one that comes while the listener waits. If it does not hear itself,
the connection is dead, or such a pooler stands between; it says so once, reports itself unhealthy, so that
its worker polls more often, and goes on trying.
"""

from __future__ import annotations

import logging
import random
import selectors
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection
from typing import Any

import psycopg
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq_django.silence import limit_silence

CHANNEL = "soniq_jobs"
PROBE_EVERY = 30.0  # seconds
PROBE_TIMEOUT = 5.0
SENDING = 0.25  # seconds after which a thread that sends hints is no longer relied upon
SENT_FOR_OTHERS = 10  # statements that a thread sends in a row; by then others have come who will
LOOK_BACK = 50  # callbacks of a transaction to look through for a hint; beyond, there is a second one
CLOSING = 1.0  # seconds that closing waits for the thread
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 15.0

logger = logging.getLogger("soniq.notify")


class Hint:
    """Runs at the commit: tells the workers to look into some queues."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.queues: set[str] = set()

    def __call__(self) -> None:
        """Send the hint; an error here must not reach a caller whose job is stored."""
        try:
            _senders.setdefault(self._alias, HintSender(self._alias)).send(self.queues)
        except Exception:
            logger.warning("a wake-up was not sent; the workers' poll finds the job", exc_info=True)


class HintSender:
    """Sends the hints of all threads of this process, for one database.

    One thread sends at a time. Whoever comes meanwhile leaves its queues to it and goes on: sessions that
    commit together, because the server flushed them together, then share a statement. A hint must follow
    the commit that it tells of, so those queues go out with a further statement.
    """

    def __init__(self, alias: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._alias = alias
        self._clock = clock
        self._lock = threading.Lock()
        self._left: set[str] = set()  # queues that others left to the thread that sends
        self._since: float | None = None  # when that thread began; None = there is none

    def send(self, queues: Collection[str]) -> None:
        """Tell the workers about ``queues``, or leave it to the thread that is sending."""
        with self._lock:
            self._left.update(queues)
            # One that hangs, or was in the process that forked this one, is not waited for.
            if self._since is not None and self._clock() - self._since < SENDING:
                return
            self._since = mine = self._clock()
        try:
            for _ in range(SENT_FOR_OTHERS):
                if not (left := self._taken(mine)):
                    return
                self._notify(left)
        finally:
            self._leave(mine)

    def _taken(self, mine: float) -> set[str]:
        """What waits to be sent. With nothing left, nobody relies on this thread from now on."""
        with self._lock:
            left, self._left = self._left, set()
            if not left and self._since == mine:
                self._since = None
        return left

    def _leave(self, mine: float) -> None:
        with self._lock:
            if self._since == mine:
                self._since = None

    def _notify(self, queues: Collection[str]) -> None:
        with connections[self._alias].cursor() as cursor:
            cursor.execute(
                "SELECT pg_notify(%s, queue) FROM unnest(%s::text[]) AS hinted (queue)",
                [CHANNEL, sorted(queues)],
            )


_senders: dict[str, HintSender] = {}


def hint_after_commit(alias: str, queue: str) -> None:
    """Tell the workers about ``queue`` once the open transaction has committed; without one, now.

    One statement per transaction: a hint that still waits for the commit is used again. Savepoints nest,
    so what rolls such a hint back rolls back whoever uses it, too.
    """
    connection = connections[alias]
    if not connection.in_atomic_block and not connection.get_autocommit():
        return  # a transaction by hand: nobody tells us of its commit; the poll finds the job
    hint = _pending(connection) if connection.in_atomic_block else None
    if hint is None:
        hint = Hint(alias)
        hint.queues.add(queue)
        transaction.on_commit(hint, using=alias)
    else:
        hint.queues.add(queue)


def _pending(connection: BaseDatabaseWrapper) -> Hint | None:
    for _, callback, *_ in reversed(connection.run_on_commit[-LOOK_BACK:]):
        if isinstance(callback, Hint):
            return callback
    return None


class Listener:
    """Listens on a thread of its own from construction to :meth:`close`.

    :param wake: called on that thread with the name of a queue; with None after a reconnect, when
        hints may have been missed
    """

    def __init__(self, alias: str, wake: Callable[[str | None], None]) -> None:
        self._alias = alias
        self._wake = wake
        self._parameters = _listening_parameters(alias)
        self._closed = threading.Event()
        self._closing, self._close = socket.socketpair()  # readable on the thread once closed
        self._warned = False
        self.healthy = False
        self._thread = threading.Thread(target=self._run, name="soniq-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        self._close.close()
        self._thread.join(CLOSING)

    def _run(self) -> None:
        backoff = FIRST_BACKOFF
        while not self._closed.is_set():
            error: psycopg.Error | None = None
            try:
                self._listen()
            except psycopg.Error as broken:
                error = broken
            if self._closed.is_set():
                break
            if self.healthy:
                backoff = FIRST_BACKOFF
            self.healthy = False
            if error is not None:
                logger.warning("listening again in at most %.1f s: %s", backoff, _line(error))
            self._closed.wait(backoff * random.uniform(0.5, 1.0))
            backoff = min(backoff * 2, LONGEST_BACKOFF)
        self._closing.close()

    def _listen(self) -> None:
        """Listen until closed, until the connection breaks, or until a probe is not heard."""
        with psycopg.connect(**self._parameters, autocommit=True) as session:
            session.execute(f"LISTEN {CHANNEL}")
            while not self._closed.is_set():
                if not self._probe_is_heard(session):
                    self._warn_once()
                    return
                self.healthy = True
                self._warned = False
                self._hear(session, PROBE_EVERY)

    def _probe_is_heard(self, session: psycopg.Connection[Any]) -> bool:
        """Notify ourselves; whether that arrives. Wakes the worker, as hints may have been missed."""
        probe = f"probe {uuid.uuid4()}"
        with psycopg.connect(**self._parameters, autocommit=True) as other:
            other.execute("SELECT pg_notify(%s, %s)", [CHANNEL, probe])
        heard = self._hear(session, PROBE_TIMEOUT, until=probe)
        if heard and not self.healthy:
            self._wake(None)
        return heard

    def _hear(self, session: psycopg.Connection[Any], seconds: float, until: str | None = None) -> bool:
        """Pass hints on for so many seconds, or until a payload arrives. Whether it did."""
        ends = time.monotonic() + seconds
        with selectors.DefaultSelector() as readable:
            readable.register(session, selectors.EVENT_READ)
            readable.register(self._closing, selectors.EVENT_READ)
            while not self._closed.is_set():
                for notification in session.notifies(timeout=0):
                    if notification.payload == until:
                        return True
                    if not notification.payload.startswith("probe "):
                        self._wake(notification.payload)
                left = ends - time.monotonic()
                if left <= 0:
                    return False
                readable.select(left)
        return True

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "notifications do not arrive on %r (is there a pooler in transaction mode between?); "
                "the worker polls instead",
                self._alias,
            )


def _listening_parameters(alias: str) -> dict[str, Any]:
    """How to connect: as Django does, without what is for Django's own cursors; noticing a silent end."""
    parameters = connections[alias].get_connection_params()
    for key in ("cursor_factory", "context", "prepare_threshold", "autocommit"):
        parameters.pop(key, None)
    limit_silence(parameters)
    parameters.setdefault("application_name", "soniq listener")
    return parameters


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
