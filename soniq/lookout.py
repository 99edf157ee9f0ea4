"""When a worker looks at the queue: what it knows without looking, and how long it waits otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from soniq.backend import Silence, Subscription
from soniq.registry import Registry
from soniq.settings import Settings
from soniq.storage_line import AWAY, StorageLine
from soniq.unknown import UnknownJobs

FIRST_PAUSE = 0.05  # seconds; an idle worker doubles its pause up to poll_interval
LONGEST_PAUSE_UNTOLD = 1.0  # seconds between two looks at a store that wakes nobody


class Lookout:
    """Says when the next look is due; a hint makes it due at once. Used in the event loop.

    :param unknown: finds the code of jobs that the process has not imported yet
    :param queues: what the worker serves; None = all
    :param wake: called in the event loop when a look has become due
    :param lost: called on any thread, with the reason in a word, when hints that did arrive cease to
    """

    def __init__(
        self,
        storage: StorageLine,
        registry: Registry,
        unknown: UnknownJobs,
        settings: Settings,
        *,
        queues: tuple[str, ...] | None,
        wake: Callable[[], None],
        lost: Callable[[str], None] | None = None,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._unknown = unknown
        self._settings = settings
        self._queues = queues
        self._wake = wake
        self._lost = lost
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscription: Subscription = Silence()
        self.hungry = True  # whether a claim may find something
        self._curious = True  # whether jobs may have come whose code could be found
        self._claimed_since = False  # whether a claim was tried since it was last asked what is due
        self._told = False  # whether a look has become due since the last claim began
        self._pause = FIRST_PAUSE

    # -- being told

    @property
    def listening(self) -> bool:
        """Whether the storage says when there is something at present; if not, the worker polls."""
        return self._subscription.healthy

    def open(self) -> None:
        """Take hints from now on; called in the event loop that is to be woken."""
        self._loop = asyncio.get_running_loop()

    def listen(self) -> None:
        """Have the storage send hints."""
        self._subscription = self._storage.backend.subscribe(self.hinted, self._lost)

    def close(self) -> None:
        """No more hints from the storage. May block."""
        self._subscription.close()

    def hinted(self, queue: str | None) -> None:
        """A job may be there. Called on any thread."""
        if self._loop is not None and (queue is None or self._queues is None or queue in self._queues):
            try:
                self._loop.call_soon_threadsafe(self.look_now)
            except RuntimeError:  # the loop has ended, and the subscription with it
                return

    def look_now(self) -> None:
        """A job may be there, or code for one."""
        self.hungry = self._curious = self._told = True
        self._wake()

    # -- having looked

    def claiming(self) -> None:
        """A claim begins. What comes while it is under way may be too late for it."""
        self._told = False

    def claimed(self, got: int, wanted: int) -> None:
        """So many jobs came of a claim of any. Fewer than wanted: the queue is empty for now.

        Unless a hint came meanwhile: its job may have been committed after the claim had looked.
        """
        self.hungry = self._told or got == wanted
        self._claimed_since = True

    def busy(self) -> None:
        """There was something: the next pause is a short one again."""
        self._pause = FIRST_PAUSE

    # -- looking without claiming

    async def pause(self) -> float:
        """Seconds until the next look at a queue that just had nothing. 0: something is due now.

        A storage that sends hints is asked what is due next; another one is looked at often.
        """
        longest = self._settings.poll_interval
        if not self.listening:
            longest = min(longest, LONGEST_PAUSE_UNTOLD)
        patient, self._pause = self._pause, min(self._pause * 2, longest)
        if not self.listening:
            return min(patient, longest)
        claimed, self._claimed_since = self._claimed_since, False
        due = await self._storage.call(
            self._storage.backend.next_due, queues=self._queues, names=tuple(self._registry)
        )
        if due is None or due > 0:
            return longest if due is None else min(longest, due)
        # Due; if a claim just now did not get it, others hold it: no reason to spin.
        return patient if claimed else 0.0

    def waited(self, *, due: bool) -> None:
        """The pause is over, and nobody rang."""
        self._curious = True
        self.hungry |= due or not self.listening

    @property
    def lesson_in(self) -> float | None:
        """Seconds until :meth:`learned` is worth a call; 0 or less: now. None: there is nothing to learn."""
        return self._unknown.lesson_in if self._curious and self._registry.learns else None

    async def learned(self) -> bool:
        """Look for due jobs whose code this process has not imported yet. True: it has now."""
        if not self._registry.learns:
            return False
        self._curious = False
        try:
            learned = await self._storage.call(self._unknown.learn)
        except AWAY:
            if not self._storage.stopping.requested:
                raise
            return False
        self.hungry |= learned
        return learned
