"""Listening: a thread that waits for hints, on a connection of its own. PostgreSQL only.

The listener's loop: connect, LISTEN, wait. Every ``PROBE_EVERY`` seconds it notifies itself, over another
connection: on its own, a pooler in transaction mode may deliver the notification with the answer to the
very statement that sent it, and never one that comes while the listener waits. If it does not hear itself,
the connection is dead, or such a pooler stands between; it says so once, reports itself unhealthy, so that
its worker polls more often, and goes on trying.
"""

from __future__ import annotations

import random
import selectors
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
from django.db import connections

from soniq.steady import get_logger
from soniq_django.hints import AGAIN, CHANNEL, ECHO
from soniq_django.silence import limit_silence

PROBE_EVERY = 30.0  # seconds
PROBE_TIMEOUT = 5.0
CLOSING = 1.0  # seconds that closing waits for the thread
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 15.0

logger = get_logger("soniq.notify")


class Listener:
    """Listens on a thread of its own from construction to :meth:`close`.

    :param wake: called on that thread with the name of a queue; with None after a reconnect, when
        hints may have been missed
    :param lost: called on that thread each time that it no longer hears, having heard before:
        "connection" if that broke, "unheard" if a probe did not arrive
    """

    def __init__(
        self, alias: str, wake: Callable[[str | None], None], lost: Callable[[str], None] | None = None
    ) -> None:
        self._alias = alias
        self._wake = wake
        self._lost = lost
        self._parameters = _listening_parameters(alias)
        self._closed = threading.Event()
        self._closing, self._close = socket.socketpair()  # readable on the thread once closed
        self._warned = False
        self._echoes = Echoes()
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
                if self._lost is not None:
                    self._lost("unheard" if error is None else "connection")
            self.healthy = False
            if error is not None:
                logger.warning("listening again in at most %.1f s: %s", backoff, _line(error))
            self._closed.wait(backoff * random.uniform(0.5, 1.0))
            backoff = min(backoff * 2, LONGEST_BACKOFF)
        self._closing.close()

    def _listen(self) -> None:
        """Listen until closed, until the connection breaks, or until a probe is not heard."""
        with psycopg.connect(**self._parameters, autocommit=True) as session:
            session.execute(f"LISTEN {CHANNEL}; LISTEN {AGAIN}")
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
            self._echoes.heard(None, time.monotonic())  # whoever relies on a hint before our time
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
                        if notification.channel == AGAIN:
                            self._echoes.heard(notification.payload, time.monotonic())
                now = time.monotonic()
                for queue in self._echoes.due(now):
                    self._wake(queue)
                if now >= ends:
                    return False
                readable.select(min(ends, self._echoes.next) - now)
        return True

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "notifications do not arrive on %r (is there a pooler in transaction mode between?); "
                "the worker polls instead",
                self._alias,
            )


class Echoes:
    """When to look into queues once more, after hints that say so: ``ECHO`` seconds after each.

    Of hints that come close together, the first and the last have an echo of their own, and in between there
    is one every ``ECHO`` seconds.
    """

    def __init__(self) -> None:
        self._due: dict[str | None, float] = {}
        self._later: dict[str | None, float] = {}  # after the one that is due

    def heard(self, queue: str | None, now: float) -> None:
        """A hint at the queue has come; None = hints at any may have been missed."""
        (self._later if queue in self._due else self._due)[queue] = now + ECHO

    @property
    def next(self) -> float:
        """When the next one is due; inf = there is none."""
        return min(self._due.values(), default=float("inf"))

    def due(self, now: float) -> list[str | None]:
        """The queues to look into now."""
        queues = [queue for queue, when in self._due.items() if when <= now]
        for queue in queues:
            del self._due[queue]
            if queue in self._later:
                self._due[queue] = self._later.pop(queue)
        return queues


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
