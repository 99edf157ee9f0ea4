"""A worker's line to its storage: a thread of its own, and patience while the storage is away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from soniq.backend import StorageBackend
from soniq.errors import BackendConflict, BackendNotReady, BackendUnavailable
from soniq.slots import SlotThread
from soniq.steady import get_logger
from soniq.stopping import Stopping

logger = get_logger("soniq.worker")

P = ParamSpec("P")
T = TypeVar("T")

AWAY = (BackendUnavailable, BackendConflict)  # trying again is right
FIRST_BACKOFF = 0.5  # seconds
LONGEST_BACKOFF = 15.0
CONFLICTS_IN_A_ROW = 5  # that are tried again at once


class StorageLine:
    """Makes calls one after the other, on a thread of their own if they block.

    :param patience: seconds that one call waits for a storage that is away; None = for ever
    """

    def __init__(self, backend: StorageBackend, stopping: Stopping, *, patience: float | None = None) -> None:
        self.backend = backend
        self._thread = SlotThread("soniq-database", backend.release) if backend.blocking else None
        self.stopping = stopping
        self._patience = float("inf") if patience is None else patience
        self.at_stake = 0  # outcomes that the call under way writes: worth waiting for, even to the end
        self.doubtful = False  # whether the answer to a call was lost

    async def call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call; while the storage is away, back off and try again.

        A conflict is no absence: others were in the way for a moment, and nothing was written. So the
        first few in a row are tried again at once.

        :raises BackendUnavailable: it is away, and the worker has no more time to wait for it
        :raises BackendConflict: the same
        """
        backoff = FIRST_BACKOFF
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        conflicts = 0
        while True:
            try:
                if self._thread is None:
                    return call(*args, **kwargs)
                return await loop.run_in_executor(self._thread, lambda: call(*args, **kwargs))
            except AWAY as error:
                if isinstance(error, BackendConflict) and conflicts < CONFLICTS_IN_A_ROW:
                    conflicts += 1
                    logger.info("others were in the way, trying again at once: %s", error)
                    await asyncio.sleep(random.uniform(0.0, 0.01) * conflicts)
                    continue
                self.doubtful = self.doubtful or isinstance(error, BackendUnavailable)
                if self._out_of_time(until):
                    raise
                pause = backoff * random.uniform(0.5, 1.0)
                logger.warning("the storage is %s, trying again in %.1f s: %s", _state(error), pause, error)
                await self.stopping.pause(pause)
                backoff = min(backoff * 2, LONGEST_BACKOFF)

    def _out_of_time(self, until: float) -> bool:
        if not self.stopping.requested:
            return asyncio.get_running_loop().time() >= until
        return not self.at_stake or self.stopping.out_of_time

    def close(self) -> None:
        """End the thread; wait for it, unless it is stuck in a call."""
        if self._thread is not None:
            self._thread.shutdown(wait=not self._thread.busy)


def _state(error: Exception) -> str:
    if isinstance(error, BackendNotReady):
        return "not ready"
    return "busy" if isinstance(error, BackendConflict) else "away"
