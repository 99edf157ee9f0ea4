"""The state machine: every function, every branch, every field of the change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from soniq import transitions
from soniq.jobs import Claim, DeadLetterReason, JobStatus
from soniq.transitions import Change, Failure

WHEN = datetime(2024, 1, 1, tzinfo=UTC)


def claim(attempt=1, max_attempts=3, crashes=0):
    return Claim(
        job_id="job",
        worker_id="worker",
        attempt=attempt,
        job_name="name",
        args={},
        queue="default",
        priority=100,
        max_attempts=max_attempts,
        crashes=crashes,
        scheduled_at=WHEN,
        created_at=WHEN,
    )


def change(verb, status, **rest):
    """The change that is expected of ``claim()``: whatever is not named is as it was."""
    return Change(
        **{"verb": verb, "job_id": "job", "worker_id": "worker", "attempt": 1, "status": status, **rest}
    )


def test_succeed_is_done_with_its_result():
    """The result, its time to live, and a note if there is one."""
    made = transitions.succeed(claim(), result_json="5", ttl=60.0, error="a note")
    assert made == change("succeed", JobStatus.DONE, result_json="5", ttl=60.0, error="a note")
    assert transitions.succeed(claim(), result_json=None, ttl=None) == change("succeed", JobStatus.DONE)


def test_fail_with_attempts_left_is_queued_again():
    """After the delay; the attempt stays counted."""
    made = transitions.fail(claim(), error="boom", delay=7.0, error_class="a.B")
    failure = Failure("a.B", "boom")
    assert made == change("retry", JobStatus.QUEUED, delay=7.0, error="boom", failure=failure)


@pytest.mark.parametrize("attempt", [3, 4])
def test_fail_on_the_last_attempt_is_a_dead_letter(attempt):
    """For want of attempts; also when the count is beyond the maximum."""
    made = transitions.fail(claim(attempt=attempt), error="boom", delay=0.0, error_class="a.B")
    assert made == change(
        "bury",
        None,
        attempt=attempt,
        error="boom",
        reason=DeadLetterReason.MAX_RETRIES_EXCEEDED,
        failure=Failure("a.B", "boom"),
    )


def test_fail_on_the_last_attempt_names_what_exhausted_it():
    """A timeout is told apart."""
    made = transitions.fail(claim(attempt=3), error="slow", delay=0.0, exhausted=DeadLetterReason.TIMEOUT)
    assert made.reason is DeadLetterReason.TIMEOUT


@pytest.mark.parametrize("attempt", [1, 3])
def test_fail_without_a_delay_is_a_permanent_failure(attempt):
    """None means never again, on the last attempt as on the first."""
    made = transitions.fail(claim(attempt=attempt), error="boom", delay=None, error_class="a.B")
    assert made == change(
        "bury",
        None,
        attempt=attempt,
        error="boom",
        reason=DeadLetterReason.PERMANENT_FAILURE,
        failure=Failure("a.B", "boom"),
    )


def test_snooze_gives_the_attempt_back():
    """Queued for later, with the reason for people."""
    made = transitions.snooze(claim(attempt=2), seconds=30.0, reason="not yet")
    assert made == change("snooze", JobStatus.QUEUED, attempt=2, attempts=1, delay=30.0, error="not yet")


def test_interrupt_gives_the_attempt_back_at_once():
    """As if it had never been claimed: no delay, no error."""
    assert transitions.interrupt(claim(attempt=3)) == change(
        "interrupt", JobStatus.QUEUED, attempt=3, attempts=2
    )


def test_rescue_keeps_the_attempt_and_counts_the_crash():
    """Queued at once, and the error names worker and attempt."""
    made = transitions.rescue(claim(crashes=1), max_crashes=3)
    error = "worker worker was lost during attempt 1"
    failure = Failure(None, error)
    assert made == change("rescue", JobStatus.QUEUED, crashes=2, error=error, failure=failure)


@pytest.mark.parametrize(
    ("attempt", "crashes", "max_crashes"), [(1, 2, 3), (1, 0, 1), (3, 0, 3), (4, 0, 3), (3, 2, 3)]
)
def test_rescue_ends_with_the_crashes_or_the_attempts(attempt, crashes, max_crashes):
    """Whichever is used up first."""
    made = transitions.rescue(claim(attempt=attempt, crashes=crashes), max_crashes=max_crashes)
    error = f"worker worker was lost during attempt {attempt}"
    assert made == change(
        "bury",
        None,
        attempt=attempt,
        reason=DeadLetterReason.WORKER_LOST,
        error=error,
        failure=Failure(None, error),
    )


@pytest.mark.parametrize("reason", DeadLetterReason)
def test_bury_is_a_dead_letter_of_that_reason(reason):
    """There is no status for it: the row leaves the table."""
    assert transitions.bury(claim(), reason=reason, error="boom") == change(
        "bury", None, reason=reason, error="boom", failure=Failure(None, "boom")
    )


@pytest.mark.parametrize("verb", ["retry", "rescue", "bury"])
def test_a_failed_attempt_is_noted_with_its_error_cut_to_four_kilobytes(verb):
    """Head and tail; the whole text is the last error."""
    text = "head " + "ü" * 5000 + " tail"
    made = {
        "retry": lambda: transitions.fail(claim(), error=text, delay=0.0),
        "rescue": lambda: transitions.rescue(claim()._replace(worker_id=text), max_crashes=3),
        "bury": lambda: transitions.bury(claim(), reason=DeadLetterReason.TIMEOUT, error=text),
    }[verb]()
    assert (made.verb, made.error.count("ü")) == (verb, 5000)
    assert len(made.failure.error.encode()) <= transitions.FAILURE_BYTES
    assert made.failure.error.count("ü") > 1000
    assert made.failure.error.rstrip("0123456789").endswith(("tail", "attempt "))


@pytest.mark.parametrize(
    "made",
    [
        transitions.succeed(claim(), result_json=None, ttl=None, error="a note"),
        transitions.snooze(claim(), seconds=1.0, reason="not yet"),
        transitions.interrupt(claim()),
        transitions.cancel("job", ttl=None),
        transitions.bury_waiting("job", reason=DeadLetterReason.JOB_NOT_FOUND, error="e", overdue=1.0),
    ],
    ids=lambda made: made.verb,
)
def test_what_is_no_failed_attempt_is_not_noted(made):
    """It succeeded, was given back, or never started."""
    assert made.failure is None


def test_cancel_is_for_a_job_that_nobody_claimed():
    """Its guard is the status queued: no worker, no attempt."""
    made = transitions.cancel("job", ttl=60.0)
    assert made == change("cancel", JobStatus.CANCELLED, worker_id=None, attempt=0, ttl=60.0)


MADE_FROM_A_CLAIM = {
    "succeed": lambda c: transitions.succeed(c, result_json=None, ttl=None),
    "retry": lambda c: transitions.fail(c, error="", delay=0.0),
    "snooze": lambda c: transitions.snooze(c, seconds=1.0, reason=None),
    "interrupt": transitions.interrupt,
    "rescue": lambda c: transitions.rescue(c, max_crashes=9),
    "bury": lambda c: transitions.bury(c, reason=DeadLetterReason.TIMEOUT, error=""),
}


@pytest.mark.parametrize("verb", MADE_FROM_A_CLAIM)
def test_every_change_of_a_claimed_job_is_guarded_by_the_whole_claim(verb):
    """Job, worker and attempt: the fencing token."""
    made = MADE_FROM_A_CLAIM[verb](claim(attempt=2))
    assert made.verb == verb
    assert (made.job_id, made.worker_id, made.attempt) == ("job", "worker", 2)


def test_a_change_cannot_be_changed():
    """It is a decision; a new one is a new object."""
    made = transitions.cancel("job", ttl=None)
    for field in made._fields:
        with pytest.raises(AttributeError):
            setattr(made, field, None)
