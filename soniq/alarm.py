"""What ends a worker's rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings for whoever rests, and keeps ringing until it is silenced.

    What happens between the look at what there is to do and the rest is not missed: :attr:`resting` is set
    before that look, and who brings something looks at it afterwards.
    """

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self.resting = False  # whether what slot threads bring has to ring

    def ring(self) -> None:
        """End the rest; called in the event loop."""
        self._rung.set()

    def ring_once(self) -> None:
        """End a rest that was seen to be on; called on any thread."""
        self.resting = False  # ringing once is enough; another thread may do it, too, which is harmless
        self._loop.call_soon_threadsafe(self._rung.set)

    def silence(self) -> None:
        """What rang so far is about to be looked at."""
        self._rung.clear()

    async def rung_within(
        self, seconds: float | None, *, unless: Callable[[], object], by_outcomes: bool = True
    ) -> bool:
        """Rest until it rings. False: it did not within ``seconds``.

        :param unless: whether there is something to do already; then there is no rest
        :param by_outcomes: whether what slot threads bring is to ring
        """
        self._loop = asyncio.get_running_loop()
        self.resting = by_outcomes
        try:
            if not unless():
                async with asyncio.timeout(seconds):
                    await self._rung.wait()
        except TimeoutError:
            return False
        finally:
            self.resting = False
        return True
