"""Errors that nobody foresaw, between a worker and its storage: told in full, and no reason to end."""

from __future__ import annotations

import random

from soniq.steady import get_logger
from soniq.stopping import Stopping
from soniq.storage_line import FIRST_BACKOFF, LONGEST_BACKOFF, StorageLine

logger = get_logger("soniq.worker")


class Mishaps:
    """What follows on such an error: a pause, which grows while they come one after the other."""

    def __init__(self, storage: StorageLine, stopping: Stopping) -> None:
        self._storage = storage
        self._stopping = stopping
        self._backoff = FIRST_BACKOFF

    def passed(self) -> None:
        """Something went well."""
        self._backoff = FIRST_BACKOFF

    async def survive(self, error: Exception) -> None:
        """Tell of it and wait, at most until the worker is told to stop.

        The storage may have given us jobs all the same, so it is asked for them at the next visit.
        """
        pause = self._backoff * random.uniform(0.5, 1.0)
        self._backoff = min(self._backoff * 2, LONGEST_BACKOFF)
        logger.error("a visit to the storage failed, trying again in %.1f s", pause, exc_info=error)
        self._storage.doubtful = True
        await self._stopping.pause(pause)
