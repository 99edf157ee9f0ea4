"""What every worker does now and then: rescue orphans, purge what is past its time, look for unknown jobs.

Safe in any number of workers at once, because all of it goes through the contract's own writes.
"""

from __future__ import annotations

from collections.abc import Callable

from soniq import transitions
from soniq.audience import End
from soniq.backend import StorageBackend
from soniq.logged import facts_of
from soniq.settings import Settings
from soniq.steady import get_logger
from soniq.unknown import UnknownJobs
from soniq.visible import visible_line

logger = get_logger("soniq.maintenance")

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
        self._gave_back = False  # whether the last sweep queued a job again
        self._ends: list[End] = []

    def take_ends(self) -> list[End]:
        """What became of jobs in sweeps, and was not taken before."""
        ends, self._ends = self._ends, []
        return ends + ([] if self._unknown is None else self._unknown.take_ends())

    @property
    def made_claimable(self) -> bool:
        """Whether the last sweep queued a job again, or found the code of one that waits."""
        return self._gave_back or (self._unknown is not None and self._unknown.learned)

    def sweep(self) -> bool:
        """Rescue, purge and bury one batch each. True: there may be more to do."""
        return self.rescue() | self.purge() | (self._unknown is not None and self._unknown.look())

    def rescue(self) -> bool:
        """Give jobs of lost workers back, or bury them. True: there may be more."""
        dead_after = self._settings.dead_after
        orphans = self._backend.orphans(dead_after=dead_after, limit=RESCUE_BATCH)
        changes = [transitions.rescue(claim, max_crashes=self._settings.max_crashes) for claim in orphans]
        self._gave_back = False
        answers = self._backend.apply(changes) if changes else []
        for claim, change, applied in zip(orphans, changes, answers, strict=True):
            if applied:
                self._gave_back |= change.verb != "bury"
                self._ends.append(End.of_lost(claim, change))
                outcome = "dead letter (worker_lost)" if change.verb == "bury" else "queued again"
                logger.warning(
                    "rescued   %s %s: %s; %s",
                    visible_line(claim.job_name),
                    change.job_id,
                    change.error,
                    outcome,
                    extra={**facts_of(claim), "outcome": change.verb},
                )
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
