"""A worker as the storage knows it."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import replace

from soniq.errors import BackendUnavailable
from soniq.heartbeat import Heart
from soniq.jobs import WorkerInfo
from soniq.settings import Settings
from soniq.steady import get_logger
from soniq.storage_line import AWAY, StorageLine

logger = get_logger("soniq.worker")


class Presence:
    """Registered before the worker claims, beating until it has recorded its last outcome.

    :param changed: called on any thread when trust in the claims was regained or the worker forgotten
    """

    def __init__(
        self,
        storage: StorageLine,
        settings: Settings,
        *,
        concurrency: int,
        queues: tuple[str, ...] | None,
        changed: Callable[[], None],
    ) -> None:
        self._storage = storage
        self.info = WorkerInfo(
            id=str(uuid.uuid4()),
            hostname=socket.gethostname(),
            pid=os.getpid(),
            concurrency=concurrency,
            queues=queues,
        )
        self.heart = Heart(
            storage.backend,
            self.info,
            settings.heartbeat_interval,
            dead_after=settings.dead_after,
            changed=changed,
        )

    async def begin(self) -> bool:
        """Make the worker known, and keep it so. False: it was stopped before the storage answered."""
        if not await self._registered():
            return False
        self.heart.start()
        return True

    async def start_over(self) -> None:
        """Go on as a new worker: the storage has forgotten this one, and with it all of its claims.

        What still runs belongs to others now. Its outcome is dropped when it is to be recorded, since no
        claim of the new worker can look like one of the old.
        """
        former, self.info = self.info, replace(self.info, id=str(uuid.uuid4()))
        logger.warning(
            "worker %s was taken for dead, and what it held was given to others; it goes on as %s",
            former.id,
            self.info.id,
        )
        if await self._registered():
            self.heart.adopt(self.info)

    async def end(self) -> None:
        """Have the storage forget the worker, and what it still holds be rescued at once.

        :raises BackendError: the storage was not reached
        """
        await asyncio.to_thread(self.heart.stop)  # a beat after the farewell would register us again
        try:
            await self._storage.call(self._storage.backend.deregister, self.info.id)
        except BackendUnavailable:
            # A session that broke while nobody used it is found out by a call only; the next one is new.
            await self._storage.call(self._storage.backend.deregister, self.info.id)

    async def _registered(self) -> bool:
        try:
            await self._storage.call(self._storage.backend.register, self.info)
        except AWAY:
            if not self._storage.stopping.requested:
                raise
            return False
        return True
