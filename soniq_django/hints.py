"""Hints: a NOTIFY after the commit tells the workers of a queue to look now. PostgreSQL only.

The poll is the truth, a NOTIFY is a hint: it carries a queue name and nothing else, and may be lost with
the process that was to send it.

It is sent after the commit, in a statement of its own. Inside the transaction it would take a lock that
the whole server shares until the commit is flushed, so all transactions that enqueue would commit one
after the other.

A hint at ``AGAIN`` says: look now, and once more in ``ECHO`` seconds. So whoever commits within ``QUIET``
seconds of one at the same queue need send none: the second look finds the job. A busy process sends a hundred
hints per second and queue instead of one per transaction. A hint at ``CHANNEL`` says: look now. It is the one
of a job whose hint costs nothing, as it is part of the message that stores the job; nobody relies on it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq.steady import get_logger

CHANNEL = "soniq_jobs"
AGAIN = "soniq_jobs_again"
QUIET = 0.01  # seconds after a hint for which there is no other one at the same queue by this process
ECHO = 0.02  # seconds after a hint at which workers look again; more than QUIET, as clocks and threads differ
SENDING = 0.25  # seconds after which a thread that sends hints is no longer relied upon
SENT_FOR_OTHERS = 10  # statements that a thread sends in a row; by then others have come who will
LOOK_BACK = 50  # callbacks of a transaction to look through for a hint; beyond, there is a second one
MOST_QUEUES = 1000  # that are remembered

logger = get_logger("soniq.notify")


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

    A queue that was hinted at within the last ``QUIET`` seconds needs no hint. Beyond that, one thread sends
    at a time: whoever comes meanwhile leaves its queues to it and goes on. A hint must follow the commit that
    it tells of, so those queues go out with a further statement.
    """

    def __init__(self, alias: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._alias = alias
        self._clock = clock
        self._lock = threading.RLock()  # a handler of a signal that enqueues may interrupt its holder
        self._told: dict[str, float] = {}  # when the last hint at a queue was about to be sent
        self._left: set[str] = set()  # queues that others left to the thread that sends
        self._since: float | None = None  # when that thread began; None = there is none

    def send(self, queues: Collection[str]) -> None:
        """Tell the workers about ``queues``, or leave it to the thread that is sending."""
        with self._lock:
            now = self._clock()
            wanted = {queue for queue in queues if now - self._told.get(queue, -QUIET) >= QUIET}
            # From here on without a call, between which a handler might take the set that is added to.
            self._left |= wanted
            if not self._left:
                return
            # One that hangs, or was in the process that forked this one, is not waited for.
            if self._since is not None and now - self._since < SENDING:
                return
            self._since = mine = now
        try:
            for _ in range(SENT_FOR_OTHERS):
                if not (left := self._taken(mine)):
                    return
                self._notify(left)
        except BaseException:
            self._told.clear()  # whoever comes next must not rely on it
            raise
        finally:
            self._leave(mine)

    def _taken(self, mine: float) -> set[str]:
        """What waits to be sent. With nothing left, nobody relies on this thread from now on."""
        with self._lock:
            left, self._left = self._left, set()
            if len(self._told) > MOST_QUEUES:
                self._told.clear()
            self._told |= dict.fromkeys(left, self._clock())
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
                [AGAIN, sorted(queues)],
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
