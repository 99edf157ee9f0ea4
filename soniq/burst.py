"""Sync jobs, run back to back on one slot's thread.

A hop between event loop and thread costs more than a short job. So a thread that has finished one job
takes the next ready one itself, for a while, before it goes back to the loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from soniq.execution import Outcome
from soniq.jobs import Claim

LENGTH = 0.5  # seconds after which a burst takes no further job


class Burst:
    """One burst. Called on the thread; watched, and if need be revoked, from the event loop.

    :param first: the job to begin with
    :param more: gives the next job, or None
    :param attempt: runs one job
    :param deliver: receives each outcome
    """

    def __init__(
        self,
        first: Claim,
        *,
        more: Callable[[], Claim | None],
        attempt: Callable[[Claim], Outcome],
        deliver: Callable[[Outcome], None],
    ) -> None:
        self._first = first
        self._more = more
        self._attempt = attempt
        self._deliver = deliver
        self._lock = threading.Lock()
        self._current: Claim | None = first
        self._since = time.monotonic()
        self._revoked = False
        self._ends = self._since + LENGTH

    def __call__(self) -> None:
        """Run jobs until none is ready, the time is over, or the burst is revoked."""
        claim: Claim | None = self._first
        while claim is not None and self._may_start():
            outcome = self._attempt(claim)
            with self._lock:
                if self._revoked:
                    return  # the job was given up meanwhile; its late outcome is dropped
                self._current = None
            self._deliver(outcome)
            claim = self._taken() if not self.closed else None

    def _may_start(self) -> bool:
        with self._lock:
            self._since = time.monotonic()
            return not self._revoked

    def _taken(self) -> Claim | None:
        """The next job. Once taken it is the current one, so that :meth:`revoke` cannot miss it."""
        with self._lock:
            if not self._revoked:
                self._current = self._more()
            return self._current

    @property
    def closed(self) -> bool:
        """Whether the job that runs is the last one."""
        return time.monotonic() >= self._ends

    @property
    def current(self) -> tuple[Claim, float] | None:
        """The job that runs, and for how many seconds."""
        with self._lock:
            if self._current is None:
                return None
            return self._current, time.monotonic() - self._since

    def revoke(self) -> Claim | None:
        """Give the burst up; return the job it was running. Whatever that still comes to is dropped."""
        with self._lock:
            self._revoked = True
            current, self._current = self._current, None
            return current
