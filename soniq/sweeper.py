"""A worker's share of the maintenance, again and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from soniq.maintenance import Maintenance, pause
from soniq.reporter import Reporter
from soniq.steady import get_logger
from soniq.storage_line import StorageLine

logger = get_logger("soniq.worker")


class Sweeper:
    """Sweeps through the worker's line to its storage, and has told what came of it.

    :param interval: seconds between two sweeps, if there is nothing more to do
    :param swept: called after each sweep; True if it may have made jobs claimable
    """

    def __init__(
        self,
        storage: StorageLine,
        maintenance: Maintenance,
        reporter: Reporter,
        *,
        interval: float,
        swept: Callable[[bool], None],
    ) -> None:
        self._storage = storage
        self._maintenance = maintenance
        self._reporter = reporter
        self._interval = interval
        self._swept = swept

    async def sweep(self) -> bool:
        """One sweep. True: there may be more to do."""
        try:
            more = await self._storage.call(self._maintenance.sweep)
        finally:
            self.report()
        self._swept(self._maintenance.made_claimable)
        return more

    async def keep_sweeping(self) -> None:
        """Sweep at once, then every interval; one that fails is no reason to end."""
        while True:
            more = False
            try:
                more = await self.sweep()
            except Exception:
                logger.exception("maintenance failed; the next sweep tries again")
            await asyncio.sleep(pause(self._interval, more, random.uniform))

    def report(self) -> None:
        """Tell of what sweeps ended, and was not told before."""
        self._reporter.report_ends(self._maintenance.take_ends())
