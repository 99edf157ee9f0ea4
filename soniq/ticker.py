"""A worker's share of the schedules, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from soniq.reporter import Reporter
from soniq.steady import get_logger
from soniq.storage_line import StorageLine
from soniq.timetable import Timetable

logger = get_logger("soniq.scheduler")

LONGEST_PAUSE = 10.0  # seconds; so late a schedule may be noticed that was added just now


class Ticker:
    """Visits the schedules through the worker's line to its storage: when one is due, and now and then.

    :param longest: seconds between two visits
    :param fired: called after a visit that made jobs
    """

    def __init__(
        self,
        storage: StorageLine,
        timetable: Timetable,
        reporter: Reporter,
        *,
        longest: float,
        fired: Callable[[], None],
    ) -> None:
        self._storage = storage
        self._timetable = timetable
        self._reporter = reporter
        self._longest = min(longest, LONGEST_PAUSE)
        self._fired = fired

    async def tick(self) -> float:
        """One visit; seconds until the next one should be."""
        try:
            upcoming = await self._storage.call(self._timetable.visit)
        finally:
            fired = self._timetable.take_fired()
            if fired:
                self._reporter.report_enqueued(fired)
                self._fired()
        return self._longest if upcoming is None else min(max(upcoming, 0.0), self._longest)

    async def keep_ticking(self) -> None:
        """Visit at once, then whenever it is time; a visit that fails is no reason to end."""
        while True:
            pause = self._longest
            try:
                pause = await self.tick()
            except Exception:
                logger.exception("firing schedules failed; the next visit tries again")
            await asyncio.sleep(pause)

    async def catch_up(self) -> None:
        """Visit until nothing is due any more."""
        while await self.tick() <= 0:
            pass
