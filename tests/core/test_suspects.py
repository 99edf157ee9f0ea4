"""Which jobs with a crash behind them a worker may run."""

from datetime import UTC, datetime

import pytest

from soniq.jobs import Claim
from soniq.suspects import ALONE, Suspects


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


def test_of_several_suspects_one_is_kept(suspects):
    kept, back = suspects.sift([claim("a", 1), claim("b"), claim("c", 2)])

    assert (ids(kept), ids(back)) == (["a", "b"], ["c"])
    assert suspects.wanted is False


def test_the_next_suspect_is_asked_for_when_the_one_before_has_ended(suspects):
    suspects.sift([claim("a", 1), claim("b", 1)])
    suspects.ended({"x"})
    assert suspects.wanted is False

    suspects.ended({"a"})

    assert suspects.wanted is True


def test_once_no_suspect_is_left_any_job_may_be_claimed(suspects):
    suspects.sift([claim("a", 1), claim("b", 1)])
    suspects.ended({"a"})

    suspects.found(1)
    assert suspects.wanted is True
    suspects.found(0)

    assert suspects.wanted is None


def test_a_suspect_that_runs_for_long_without_harm_keeps_no_other_waiting(suspects, clock):
    suspects.sift([claim("a", 1), claim("b", 1)])
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
