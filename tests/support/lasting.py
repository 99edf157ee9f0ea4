"""Sessions of the test run's own, which last from test to test.

Django closes a test's sessions when it ends, rightly: it may have left anything in them. To look what else it
has left would take a new one on every database, which is most of what a quick test takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connections


class LastingSessions:
    """One session on each database; made before any test can touch the settings, closed by `close`."""

    def __init__(self) -> None:
        self._sessions = {alias: connections[alias].copy() for alias in connections}

    def lend(self, work: Callable[[], None]) -> None:
        """Let ``work``, which may be done twice, find them in `connections`."""
        with self._in_place():
            try:
                work()
            except (OperationalError, InterfaceError):  # the test has ended all sessions of its database
                self.close()
                work()

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        of_the_test = {alias: connections[alias] for alias in self._sessions}
        try:
            for alias, session in self._sessions.items():
                of_the_test[alias].close()  # a transaction that it left open would be waited for
                connections[alias] = session
            yield
        finally:
            for alias, session in of_the_test.items():
                connections[alias] = session
