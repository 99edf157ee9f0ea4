"""A time limit around a coroutine: as asyncio.timeout would have it, but free for what never waits."""

from __future__ import annotations

import asyncio
import time

import pytest

from soniq.deadline import within
from soniq.errors import JobTimeout


async def test_what_waits_for_nothing_sets_no_timer(monkeypatch):
    """Most jobs end long before their limit, and many never wait."""
    monkeypatch.setattr(asyncio.get_running_loop(), "call_at", pytest.fail)

    async def work():
        return "done"

    assert await within(5, work()) == "done"


@pytest.mark.parametrize("seconds", [None, 5])
async def test_what_waits_gets_its_values_and_exceptions(seconds):
    """Futures, other tasks, other coroutines and bare yields, as in any task."""
    loop = asyncio.get_running_loop()
    broken = loop.create_future()
    loop.call_later(0.01, broken.set_exception, ValueError("broken"))

    async def inner():
        await asyncio.sleep(0)
        return 1

    async def work():
        with pytest.raises(ValueError, match="broken"):
            await broken
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(inner()) for _ in range(3)]
        assert asyncio.current_task() is task
        return (
            sum(task.result() for task in tasks) + await inner() + sum(await asyncio.gather(inner(), inner()))
        )

    task = asyncio.current_task()
    assert await within(seconds, work()) == 6


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_is_raised_comes_out(at_once):
    """Before the first wait and after it."""

    async def work():
        if not at_once:
            await asyncio.sleep(0)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await within(5, work())


async def test_an_overrun_is_cancelled_and_cleans_up():
    """JobTimeout says how long it could have taken."""
    cleaned = []

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    with pytest.raises(JobTimeout, match=r"0\.01"):
        await within(0.01, work())
    assert cleaned == [True]
    assert asyncio.current_task().cancelling() == 0


async def test_the_time_before_the_first_wait_counts():
    """The limit is one of the job, not of its waiting."""

    async def work():
        time.sleep(0.05)  # noqa: ASYNC251  # a job that blocks the loop is what this is about
        await asyncio.sleep(1)

    began = time.monotonic()
    with pytest.raises(JobTimeout):
        await within(0.05, work())
    assert time.monotonic() - began < 0.5


async def test_a_timeout_of_its_own_stays_its_own():
    """Somebody else's limit is no overrun of this one."""

    async def work():
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError) as caught:
        await within(60, work())
    assert not isinstance(caught.value, JobTimeout)


async def test_a_cancel_from_outside_reaches_the_coroutine():
    """And comes out as what it is."""
    reached = []

    async def work():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            reached.append(True)
            raise

    task = asyncio.create_task(within(60, work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reached == [True]


async def test_an_abandoned_wait_closes_the_coroutine():
    """As when the loop is gone: its finally runs."""
    closed = []

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    limited = within(None, work())
    limited.send(None)
    limited.close()
    assert closed == [True]


async def test_any_awaitable_will_do():
    """Middleware may give something else than a coroutine."""
    future = asyncio.get_running_loop().create_future()
    future.set_result(3)
    assert await within(5, future) == 3
