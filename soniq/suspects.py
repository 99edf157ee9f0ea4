"""Jobs whose worker was lost: one of them may have killed it, and its neighbours must not pay for that.

When a worker process dies, nobody knows which of its jobs did it, so each of them counts a crash. Were they
all claimed together again, a job that kills its process each time would take the others with it each
time, until all are buried as ``worker_lost``. So of jobs that have a crash behind them a worker runs one at a
time: a neighbour is blamed once at most, the one that does it every time.

A suspect that has run for ``ALONE`` seconds without harm no longer keeps others waiting: jobs that take an
hour, and were lost with their machine, do not run one after the other for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from soniq.jobs import Claim

ALONE = 15.0  # seconds


class Suspects:
    """What a worker may claim of them, and which one it runs.

    :param enabled: whether to hold any of them back
    :param clock: monotonic seconds
    """

    def __init__(self, *, enabled: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._enabled = enabled
        self._clock = clock
        self._held: str | None = None  # the job that runs, or is about to
        self._since = 0.0
        self._more = False  # whether others are known to wait

    @property
    def _busy(self) -> bool:
        return self._held is not None and self._clock() - self._since < ALONE

    @property
    def wanted(self) -> bool | None:
        """What the next claim may take: True = one suspect, False = none of them, None = any job."""
        if self._busy:
            return False
        return True if self._more else None

    def sift(self, claims: Sequence[Claim]) -> tuple[list[Claim], list[Claim]]:
        """The claims that may be run, and the suspects among them that have to be given back."""
        if not self._enabled:
            return list(claims), []
        found = [claim for claim in claims if claim.crashes]
        if len(found) == 1 and not self._busy:
            self._held, self._since = found[0].job_id, self._clock()
            return list(claims), []
        # Not one of several: it could kill the process before it is recorded that the others were given back,
        # and they would be blamed again. The next claim, which is made once that is recorded, asks for one.
        self._more = self._more or bool(found)
        return [claim for claim in claims if not claim.crashes], found

    def found(self, count: int) -> None:
        """So many claims came of a request that asked for a suspect."""
        self._more = count > 0

    def ended(self, job_ids: Collection[str]) -> None:
        """The outcomes of these jobs have been recorded, or they were given back."""
        if self._held in job_ids:
            self._held = None
