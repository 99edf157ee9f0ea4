"""When a worker has done its share."""

from __future__ import annotations

import asyncio
import sys

import pytest

from soniq import ConfigurationError
from soniq.recycling import MEGABYTE, Recycling, resident_bytes
from soniq.testing import make_app, wait_until


class Memory:
    """What the process takes, as a test says."""

    def __init__(self, megabytes: float) -> None:
        self.megabytes = megabytes

    def __call__(self) -> int:
        return int(self.megabytes * MEGABYTE)


def test_without_limits_a_worker_goes_on():
    recycling = Recycling(resident=Memory(10_000))
    recycling.weigh()

    assert recycling.allowed(7, started=10**9) == 7
    assert recycling.reason == ""


def test_no_more_jobs_are_claimed_than_the_limit_allows():
    recycling = Recycling(max_jobs=10)

    assert recycling.allowed(4, started=0) == 4
    assert recycling.allowed(4, started=8) == 2
    assert recycling.reason == ""
    assert recycling.allowed(4, started=10) == 0
    assert recycling.reason == "it has started 10 of at most 10 jobs"


def test_a_worker_that_takes_too_much_memory_claims_nothing_more():
    memory = Memory(50)
    recycling = Recycling(max_memory=100, resident=memory)
    memory.megabytes = 100
    recycling.weigh()
    assert recycling.allowed(4, started=3) == 4

    memory.megabytes = 101
    recycling.weigh()

    assert recycling.allowed(4, started=3) == 0
    assert recycling.reason == "it takes 101 MB of at most 100 MB of memory"


def test_memory_that_is_given_back_does_not_revoke_the_decision():
    memory = Memory(50)
    recycling = Recycling(max_memory=100, resident=memory)
    memory.megabytes = 101
    recycling.weigh()
    memory.megabytes = 10
    recycling.weigh()

    assert recycling.allowed(1, started=0) == 0
    assert "101 MB" in recycling.reason


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"max_jobs": 0}, "max_jobs is 0: give 1 or more"),
        ({"max_memory": -5}, "max_memory is -5: give 1 or more megabytes"),
        (
            {"max_memory": 60},
            "max_memory is 60 MB, and the process takes 80 MB before its first job; give 160 or more",
        ),
    ],
)
def test_limits_that_cannot_be_are_refused(limits, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        Recycling(**limits, resident=Memory(80))


@pytest.mark.skipif(sys.platform == "win32", reason="nobody says there")
def test_the_memory_of_this_process_is_measured():
    before = resident_bytes()
    ballast = bytearray(b"x" * (64 * MEGABYTE))
    after = resident_bytes()

    assert 5 * MEGABYTE < before < 4096 * MEGABYTE
    assert after - before > 48 * MEGABYTE
    del ballast


@pytest.mark.skipif(sys.platform == "win32", reason="nobody says there")
def test_where_there_is_no_proc_the_peak_is_measured(monkeypatch, tmp_path):
    monkeypatch.setattr("soniq.recycling._STATM", tmp_path / "absent")

    assert resident_bytes() > 5 * MEGABYTE


async def test_an_idle_worker_whose_memory_grows_leaves():
    """A library may take it in a thread of its own, long after the last job."""
    memory = Memory(50)
    app = make_app(sweep_interval=0.05)
    worker = app.worker(recycling=Recycling(max_memory=100, resident=memory))
    running = asyncio.create_task(worker.run())
    await wait_until(app.backend.list_workers)

    memory.megabytes = 101

    assert await asyncio.wait_for(running, 5) is False
    assert app.backend.list_workers() == []


async def test_after_a_job_that_took_too_much_no_other_is_started():
    """The memory is looked at before the claim that goes with the outcome."""
    memory = Memory(50)
    app = make_app()

    @app.job
    async def greedy() -> None:
        memory.megabytes = 101

    for _ in range(3):
        await app.enqueue(greedy)
    worker = app.worker(concurrency=1, recycling=Recycling(max_memory=100, resident=memory))

    assert await asyncio.wait_for(worker.run(), 5) is True
    assert worker.processed == 1
    assert (await app.get_queue_stats())["queued"] == 2
