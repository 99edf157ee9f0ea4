"""Waiting for a condition instead of sleeping for a guess."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable


async def wait_until(
    predicate: Callable[[], object] | Callable[[], Awaitable[object]],
    *,
    timeout: float = 2.0,
    poll: float = 0.01,
    message: str | None = None,
) -> None:
    """Return as soon as ``predicate`` is true; it is asked at least once.

    :param predicate: sync or async
    :param timeout: seconds to wait at most; an async predicate that hangs is given up then, too
    :param poll: seconds between two questions
    :param message: of the error
    :raises AssertionError: it was not true in time
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        answer = predicate()
        if inspect.isawaitable(answer):
            try:
                async with asyncio.timeout_at(max(deadline, loop.time() + poll)):
                    answer = await answer
            except TimeoutError:
                if loop.time() < deadline:
                    raise
                answer = False
        if answer:
            return
        if loop.time() >= deadline:
            raise AssertionError(message or f"{_name(predicate)} was not true within {timeout:g} s")
        await asyncio.sleep(poll)


def _name(predicate: Callable[..., object]) -> str:
    return getattr(predicate, "__qualname__", repr(predicate))
