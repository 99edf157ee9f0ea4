"""Answers that threads give to an event loop, delivered many at a time.

``run_in_executor`` wakes the loop once per call, through a pipe, and makes two futures for it. Jobs
that use an ORM make several such calls each, so here a call costs one future, and all answers that are
ready when the loop gets to them share one wake-up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any


class Answers:
    """What calls on other threads came to, on its way to the event loop that runs them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._called = False  # whether the loop is about to deliver

    def future(self) -> asyncio.Future[Any]:
        """A future for one call. Made in the event loop, always the same one."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.create_future()

    def put(
        self, future: asyncio.Future[Any], result: Any = None, error: BaseException | None = None
    ) -> None:
        """What the call of this future came to. Called on any thread."""
        self._waiting.append((future, result, error))
        if not self._called and self._loop is not None:
            self._called = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # First: an answer that comes from now on either is seen below, or calls again.
        self._called = False
        while self._waiting:
            future, result, error = self._waiting.popleft()
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):  # which a future cannot raise
                future.set_exception(RuntimeError(f"the call raised {error!r}"))
            else:
                future.set_exception(error)
