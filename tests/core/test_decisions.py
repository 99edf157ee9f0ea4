"""What holds of every decision about a job, whatever came before: drawn, not chosen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soniq import transitions
from soniq.jobs import Claim, DeadLetterReason, JobStatus
from soniq.retry import TaskRetryPolicy, delays_of
from soniq.settings import MAX_ATTEMPTS, MAX_SECONDS
from tests.core.test_transitions import WHEN

SECONDS = st.floats(0, MAX_SECONDS, allow_nan=False)
COUNTS = st.integers(1, MAX_ATTEMPTS)
TEXTS = st.text(max_size=5)
ENDS = st.sampled_from(["done", "failed", "never again", "snoozed", "interrupted", "lost"])


def claim_of(attempt, max_attempts, crashes=0):
    return Claim("job", "worker", attempt, "name", {}, "default", 100, max_attempts, crashes, WHEN, WHEN)


def ended(claim, end, *, delay=0.0, max_crashes=3):
    """The change that an attempt which ended in this way leads to."""
    return {
        "done": lambda: transitions.succeed(claim, result_json=None, ttl=None),
        "failed": lambda: transitions.fail(claim, error="e", delay=delay),
        "never again": lambda: transitions.fail(claim, error="e", delay=None),
        "snoozed": lambda: transitions.snooze(claim, seconds=delay, reason=None),
        "interrupted": lambda: transitions.interrupt(claim),
        "lost": lambda: transitions.rescue(claim, max_crashes=max_crashes),
    }[end]()


@given(st.lists(ENDS, max_size=60), st.integers(1, 6), st.integers(1, 4))
def test_no_history_starts_a_job_more_often_than_it_may(ends, max_attempts, max_crashes):
    """Starts that were given back aside; and lost workers are bounded, too."""
    attempts = crashes = used = lost = 0
    for end in ends:
        claim = claim_of(attempts + 1, max_attempts, crashes)
        change = ended(claim, end, max_crashes=max_crashes)
        used += end not in ("snoozed", "interrupted")
        lost += end == "lost"
        if change.status is not JobStatus.QUEUED:
            break
        attempts = claim.attempt if change.attempts is None else change.attempts
        crashes = claim.crashes if change.crashes is None else change.crashes
        assert attempts == used < max_attempts
        assert crashes == lost < max_crashes
    assert used <= max_attempts
    assert lost <= max_crashes


@given(
    attempt=COUNTS,
    max_attempts=COUNTS,
    crashes=st.integers(0, 9),
    end=ENDS,
    delay=SECONDS,
    max_crashes=st.integers(1, 9),
)
def test_every_end_of_an_attempt_leads_somewhere_behind_the_whole_guard(
    *, attempt, max_attempts, crashes, end, delay, max_crashes
):
    """Never back to processing; a dead letter has a reason and an error, a live job a time."""
    claim = claim_of(attempt, max_attempts, crashes)
    change = ended(claim, end, delay=delay, max_crashes=max_crashes)
    assert (change.job_id, change.worker_id, change.attempt) == ("job", "worker", attempt)
    assert change.status in (None, JobStatus.QUEUED, JobStatus.DONE)
    assert (change.status is None) == (change.reason is not None) == (change.verb == "bury")
    assert change.status is not None or change.error
    assert change.status is JobStatus.QUEUED or change.delay == 0
    assert change.attempts in (None, attempt - 1)
    assert change.crashes in (None, crashes + 1)
    assert (change.failure is not None) == (change.verb in ("retry", "rescue", "bury"))


@given(COUNTS, COUNTS, SECONDS, st.sampled_from(DeadLetterReason))
def test_a_failure_is_buried_exactly_when_no_attempt_is_left(attempt, max_attempts, delay, exhausted):
    """With the reason that was given for it."""
    change = transitions.fail(claim_of(attempt, max_attempts), error="e", delay=delay, exhausted=exhausted)
    if attempt < max_attempts:
        assert (change.status, change.delay) == (JobStatus.QUEUED, delay)
    else:
        assert (change.status, change.reason) == (None, exhausted)


@given(
    delays=st.lists(SECONDS, min_size=1, max_size=4),
    backoff=st.booleans(),
    cap=st.none() | SECONDS,
    jitter=st.booleans(),
    attempt=COUNTS,
    share=st.floats(0, 1),
)
def test_every_delay_is_a_time_that_can_be_added_to_now(*, delays, backoff, cap, jitter, attempt, share):
    """Finite, not negative, within its cap; jitter only shortens it."""
    options = {"delays": tuple(delays[:1] if backoff else delays), "backoff": backoff, "max_delay": cap}
    full = TaskRetryPolicy(**options).delay(attempt)
    drawn = TaskRetryPolicy(**options, jitter=jitter, uniform=lambda low, high: low + share * (high - low))
    assert math.isfinite(full)
    assert 0 <= drawn.delay(attempt) <= full
    assert cap is None or full <= cap
    assert full <= MAX_SECONDS
    assert drawn.delay(attempt) == (share * full if jitter else full)


@given(SECONDS, st.none() | SECONDS, st.integers(1, 200))
def test_back_off_never_shortens(first, cap, attempt):
    """Each wait is as long as the one before, or longer."""
    policy = TaskRetryPolicy(delays=(first,), backoff=True, max_delay=cap)
    assert policy.delay(attempt) <= policy.delay(attempt + 1)


@given(st.one_of(st.integers(0, 100), st.floats(0, 100), st.lists(st.integers(0, 100), min_size=1)))
def test_delays_have_one_form(value):
    """A tuple of floats, whatever was written."""
    delays = delays_of(value)
    assert all(type(delay) is float for delay in delays)
    assert list(delays) == (value if isinstance(value, list) else [value])


@given(ENDS, st.integers(1, 3))
def test_a_claim_is_not_changed_by_deciding(end, attempt):
    """Decisions are new values."""
    claim = claim_of(attempt, 3)
    ended(claim, end)
    assert claim == claim_of(attempt, 3)
    with pytest.raises(AttributeError):
        claim.attempt = 2
