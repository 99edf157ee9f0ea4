"""The end of a worker: asked for once, it has time; asked for twice, it has none."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from soniq.steady import get_logger

logger = get_logger("soniq.worker")

LOOK_EVERY = 1.0  # seconds between two looks whether signals still arrive


class Stopping:
    """Whether, and until when, a worker is stopping.

    :param timeout: seconds that running jobs have to finish
    :param changed: called whenever something here changes
    """

    def __init__(self, timeout: float, changed: Callable[[], None]) -> None:
        self._timeout = timeout
        self._changed = changed
        self._deadline: float | None = None
        self._nudge = asyncio.Event()  # ends a pause
        self.requested = False
        self.at_once = False

    def request(self) -> None:
        """Stop; called a second time, at once."""
        if self.requested:
            self.at_once = True
            logger.warning("stopping at once; running jobs are given back")
        else:
            self.requested = True
            logger.info("stopping; running jobs have %g s to finish", self._timeout)
        self._nudge.set()
        self._changed()

    def now(self) -> None:
        """Stop at once, without a word."""
        self.requested = self.at_once = True
        self._nudge.set()

    @property
    def deadline(self) -> float:
        """When a stopped worker must be gone, by the clock of the event loop; fixed when first asked for."""
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._timeout
        return self._deadline

    @property
    def out_of_time(self) -> bool:
        """Whether nothing is waited for any more."""
        return self.at_once or asyncio.get_running_loop().time() >= self.deadline

    def time_left(self, at_least: float) -> float:
        """Seconds until the deadline, or ``at_least``, if that is more or the end is at once."""
        if self.at_once:
            return at_least
        return max(self.deadline - asyncio.get_running_loop().time(), at_least)

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the worker is told to stop, or has to."""
        if self.requested:
            left = self.deadline - asyncio.get_running_loop().time()
            seconds = min(seconds, max(left, 0.0))
        self._nudge.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        except TimeoutError:
            pass


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call ``stop`` in the event loop, where this thread may handle signals.

    An async job runs in this thread, and can take them away: within a second they are taken back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.getsignal(number) for number in caught}
    for number in caught:
        loop.add_signal_handler(number, stop)
    ours = {number: signal.getsignal(number) for number in caught}

    next_look: asyncio.TimerHandle | None = None

    def look() -> None:
        nonlocal next_look
        for number in caught:
            if signal.getsignal(number) != ours[number]:
                logger.warning("a job has taken %s from the worker, which takes it back", number.name)
            loop.add_signal_handler(number, stop)  # a job may have done so, or taken what wakes the loop
        next_look = loop.call_later(LOOK_EVERY, look)

    next_look = loop.call_later(LOOK_EVERY, look)
    try:
        yield
    finally:
        next_look.cancel()
        for number, handler in previous.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler or signal.SIG_DFL)


def end_process_within(seconds: float) -> None:
    """End this process so many seconds from now, with exit code 0, if it has not ended by itself.

    At its end Python waits for all threads but daemons, those that jobs have started and left included.
    """

    def end() -> None:
        time.sleep(seconds)
        logger.warning("ending the process without the threads that its jobs have left running")
        logging.shutdown()
        os._exit(0)

    threading.Thread(target=end, name="soniq-end", daemon=True).start()
