"""Which jobs with a crash behind them a worker may run."""

import asyncio
from datetime import UTC, datetime

import pytest

from soniq import transitions
from soniq.jobs import Claim, ClaimRequest
from soniq.suspects import ALONE, Suspects
from soniq.testing import wait_until


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def suspects(clock):
    return Suspects(clock=clock)


def claim(job_id, crashes=0):
    now = datetime.now(UTC)
    return Claim(job_id, "worker", 1, "work", {}, "default", 100, 5, crashes, now, now)


def ids(claims):
    return [one.job_id for one in claims]


def test_jobs_without_a_crash_are_never_held_back(suspects):
    kept, back = suspects.sift([claim("a"), claim("b")])

    assert (ids(kept), back) == (["a", "b"], [])
    assert suspects.wanted is None


def test_a_suspect_that_comes_alone_is_kept(suspects):
    kept, back = suspects.sift([claim("a", 1), claim("b")])

    assert (ids(kept), back) == (["a", "b"], [])
    assert suspects.wanted is False


def test_of_several_suspects_none_is_kept_and_one_asked_for(suspects):
    """One of them could kill the process before the others are given back, which would be blamed for it."""
    kept, back = suspects.sift([claim("a", 1), claim("b"), claim("c", 2)])

    assert (ids(kept), ids(back)) == (["b"], ["a", "c"])
    assert suspects.wanted is True


def test_beside_a_suspect_no_other_is_kept(suspects):
    suspects.sift([claim("a", 1)])

    kept, back = suspects.sift([claim("b"), claim("c", 1)])

    assert (ids(kept), ids(back)) == (["b"], ["c"])
    assert suspects.wanted is False


def test_the_next_suspect_is_asked_for_when_the_one_before_has_ended(suspects):
    suspects.sift([claim("a", 1)])
    suspects.sift([claim("b", 1)])
    suspects.ended({"x"})
    assert suspects.wanted is False

    suspects.ended({"a"})

    assert suspects.wanted is True


def test_once_no_suspect_is_left_any_job_may_be_claimed(suspects):
    suspects.sift([claim("a", 1), claim("b", 1)])

    suspects.found(1)
    assert suspects.wanted is True
    suspects.found(0)

    assert suspects.wanted is None


def test_a_suspect_that_runs_for_long_without_harm_keeps_no_other_waiting(suspects, clock):
    suspects.sift([claim("a", 1)])
    clock.now += ALONE

    kept, back = suspects.sift([claim("b", 1)])

    assert (ids(kept), back) == (["b"], [])


def test_the_end_of_one_that_no_longer_counts_frees_nobody(suspects, clock):
    suspects.sift([claim("a", 1)])
    clock.now += ALONE
    suspects.sift([claim("b", 1)])

    suspects.ended({"a"})

    assert suspects.wanted is False


def test_a_drain_holds_none_of_them_back():
    kept, back = Suspects(enabled=False).sift([claim("a", 1), claim("b", 1)])

    assert (ids(kept), back) == (["a", "b"], [])


async def test_a_suspect_starts_only_once_no_other_is_held(app):
    """Whatever it then does to the process, none of the others can be blamed for it."""
    held = []

    @app.job
    async def work():
        held.append(sum(job.status == "processing" for job in app.backend.list_jobs()))

    await app.enqueue_many(work, [{}] * 5)
    app.backend.claim(ClaimRequest(worker_id="lost", limit=5))
    orphans = app.backend.orphans(dead_after=0, limit=5)
    app.backend.apply([transitions.rescue(claim, max_crashes=9) for claim in orphans])
    worker = app.worker(concurrency=4)
    running = asyncio.create_task(worker.run())
    await wait_until(lambda: len(held) == 5)
    worker.stop()
    await running

    assert held == [1] * 5
