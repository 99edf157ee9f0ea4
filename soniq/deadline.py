"""A time limit that costs nothing until what it limits waits for something.

Most limits are never reached, and many jobs never wait: for those a timer that is set and cancelled is
the larger part of their cost.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from soniq.errors import JobTimeout

T = TypeVar("T")

CLEAN_UP = 10.0  # seconds that what was cancelled has to end


async def within(
    seconds: float | None, awaitable: Awaitable[T], *, stuck: Callable[[], None] | None = None
) -> T:
    """Await; cancel it once ``seconds`` are over, which code that does not wait cannot notice.

    :param seconds: None = any time
    :param stuck: called in the event loop if it goes on for :data:`CLEAN_UP` after that all the same: nobody
        can end code that swallows its cancellation, and this returns late then, if ever
    :raises JobTimeout: it was cancelled for that reason
    """
    began = asyncio.get_running_loop().time()
    if isinstance(awaitable, Coroutine):
        try:
            waiting = awaitable.send(None)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # what a coroutine returns travels untyped
        awaitable = _resumed(awaitable, waiting)
    if seconds is None:
        return await awaitable
    ends = began + seconds
    watch = stuck and asyncio.get_running_loop().call_at(ends + CLEAN_UP, stuck)
    try:
        async with asyncio.timeout_at(ends) as limit:
            return await awaitable
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise JobTimeout(seconds) from error
    finally:
        if watch:
            watch.cancel()


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, T], waiting: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that was started by hand and waits for ``waiting``."""
    try:
        while True:
            try:
                sent = yield waiting
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001  # thrown in from outside, and passed on
                waiting = coroutine.throw(error)
            else:
                waiting = coroutine.send(sent)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # as above
