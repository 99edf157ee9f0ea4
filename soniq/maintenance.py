"""What every worker does now and then: rescue orphans, purge what is past its time, look for unknown jobs.

Safe in any number of workers at once, because all of it goes through the contract's own writes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from soniq import transitions
from soniq.backend import StorageBackend
from soniq.settings import Settings
from soniq.unknown import UnknownJobs

logger = logging.getLogger("soniq.maintenance")

RESCUE_BATCH = 100
PURGE_BATCH = 1000


class Maintenance:
    """One sweep at a time; each is short, so that it delays no claim.

    :param unknown: looks for jobs that the worker cannot run; None = nobody does
    """

    def __init__(
        self, backend: StorageBackend, settings: Settings, unknown: UnknownJobs | None = None
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._unknown = unknown
        self.gave_back = False  # whether the last sweep queued a job again

    def sweep(self) -> bool:
        """Rescue, purge and bury one batch each. True: there may be more to do."""
        return self.rescue() | self.purge() | (self._unknown is not None and self._unknown.look())

    def rescue(self) -> bool:
        """Give jobs of lost workers back, or bury them. True: there may be more."""
        dead_after = self._settings.dead_after
        orphans = self._backend.orphans(dead_after=dead_after, limit=RESCUE_BATCH)
        changes = [transitions.rescue(claim, max_crashes=self._settings.max_crashes) for claim in orphans]
        self.gave_back = False
        for change, applied in zip(changes, self._backend.apply(changes) if changes else [], strict=True):
            if applied:
                self.gave_back |= change.verb != "bury"
                outcome = "dead letter (worker_lost)" if change.verb == "bury" else "queued again"
                logger.warning("rescued job %s: %s; %s", change.job_id, change.error, outcome)
        if not orphans:
            self._backend.forget_workers(dead_after=dead_after)
        return len(orphans) == RESCUE_BATCH

    def purge(self) -> bool:
        """Delete rows past their time. True: there may be more."""
        ttl = self._settings.dead_letter_ttl
        return self._backend.purge(limit=PURGE_BATCH, dead_letter_ttl=ttl) >= PURGE_BATCH


def pause(sweep_interval: float, more: bool, jitter: Callable[[float, float], float]) -> float:
    """Seconds until the next sweep; spread, so that workers do not sweep in step."""
    return 0.05 if more else sweep_interval * jitter(0.8, 1.0)
