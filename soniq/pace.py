"""How far ahead a worker claims, how often it visits the storage, and how many threads short jobs deserve."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW = 0.1  # seconds
MOST_AT_ONCE = 1000  # jobs per claim
SPACING = 0.02  # seconds between two visits to the storage, while nobody waits for the next one
SHORT = 0.0005  # seconds; below this a job is mostly Python, and a second thread only contends


class Pace:
    """Measures what the worker finishes.

    :param enabled: whether to claim ahead at all
    :param clock: monotonic seconds
    """

    def __init__(self, *, enabled: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._enabled = enabled
        self._clock = clock
        self._finished: deque[tuple[float, int]] = deque()
        self._in_window = 0
        self._visited = float("-inf")  # when the last visit to the storage began
        self._typical = SHORT * 2  # seconds per job; nothing is known yet
        self.patience = 0.005  # seconds a job may run before the ready ones get another thread

    def visits(self) -> None:
        """A visit to the storage begins."""
        self._visited = self._clock()

    def may_pile_up(self, *, ready: int) -> float:
        """Seconds for which the next visit to the storage may wait; 0 = it may not.

        A visit costs nearly the same for one outcome as for fifty, and the jobs that run meanwhile pay for
        it. It may wait while there is work for longer than that: with little to do, it never does.
        """
        ahead = self._ahead()
        if not ahead or ready * WINDOW < ahead * SPACING * 2:
            return 0.0
        return max(self._visited + SPACING - self._clock(), 0.0)

    def finished(self, count: int) -> None:
        """So many jobs were recorded just now."""
        self._finished.append((self._clock(), count))
        self._in_window += count

    def took(self, seconds: float) -> None:
        """A job took so long. Called on several threads; a lost update does no harm."""
        self._typical += (seconds - self._typical) * 0.05

    @property
    def short_jobs(self) -> bool:
        """Whether the jobs of late were mostly Python."""
        return self._typical < SHORT

    def wanted(self, *, free: int, ready: int, visiting: bool) -> int:
        """How many jobs to claim now; 0 while there is enough.

        A claim costs the same for few jobs as for many, so there is none before half of what may be
        held is used up; a quarter, if the storage is visited anyway.

        :param visiting: there are outcomes to record
        """
        may_hold = free + self._ahead()
        missing = min(may_hold - ready, MOST_AT_ONCE)
        enough = may_hold // 4 if visiting else may_hold // 2
        return missing if missing > 0 and missing >= min(enough, MOST_AT_ONCE // 2) else 0

    def _ahead(self) -> int:
        """As many as were finished within the window."""
        if not self._enabled:
            return 0
        since = self._clock() - WINDOW
        while self._finished and self._finished[0][0] < since:
            self._in_window -= self._finished.popleft()[1]
        return self._in_window
