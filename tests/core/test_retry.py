"""When a failed job runs again: every form of delay, and policies that misbehave."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soniq.errors import InvalidJob
from soniq.retry import TaskRetryPolicy, delays_of
from tests.core.test_transitions import claim

YEAR = 366 * 86400.0


def policy(**options):
    """A policy whose dice always show the upper bound."""
    return TaskRetryPolicy(**{"uniform": lambda low, high: high, **options})


def delays(made, count=5):
    return [made.delay(attempt) for attempt in range(1, count + 1)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, (5.0,)), (0, (0.0,)), (2.5, (2.5,)), ([1, 10, 60], (1.0, 10.0, 60.0)), ((1, 2.5), (1.0, 2.5))],
)
def test_a_number_or_a_list_of_numbers_is_a_delay(value, expected):
    """In seconds; there is one internal form."""
    assert delays_of(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "5",
        None,
        True,
        [True],
        ["5"],
        {5},
        {"a": 1},
        timedelta(1),
        [None],
        [],
        -1,
        [-1],
        math.nan,
        math.inf,
        1e300,
    ],
    ids=repr,
)
def test_any_other_delay_is_refused_when_the_job_is_declared(app, value):
    """Nothing that a worker could stumble over later."""
    with pytest.raises(InvalidJob, match="retry_delay"):
        app.job(retry_delay=value)(lambda: None)


@pytest.mark.parametrize("value", ["5", True, -1, math.nan, math.inf, [5], 1e300], ids=repr)
def test_an_impossible_cap_is_refused(app, value):
    """retry_max_delay is a number of seconds."""
    with pytest.raises(InvalidJob, match="retry_max_delay"):
        app.job(retry_max_delay=value)(lambda: None)


def test_one_delay_is_for_every_attempt():
    """A number repeats."""
    assert delays(policy(delays=(5.0,))) == [5, 5, 5, 5, 5]


def test_of_a_list_the_last_delay_repeats():
    """One by one, then the last for good."""
    assert delays(policy(delays=(1.0, 10.0, 60.0))) == [1, 10, 60, 60, 60]


def test_back_off_doubles_the_delay():
    """From the given delay on."""
    assert delays(policy(delays=(3.0,), backoff=True)) == [3, 6, 12, 24, 48]


def test_back_off_without_a_delay_starts_at_one_second():
    """Twice nothing would be nothing for ever."""
    assert delays(policy(backoff=True)) == [1, 2, 4, 8, 16]


def test_max_delay_caps_every_form():
    """The back-off as well as the list."""
    assert delays(policy(delays=(3.0,), backoff=True, max_delay=10)) == [3, 6, 10, 10, 10]
    assert delays(policy(delays=(1.0, 99.0), max_delay=50)) == [1, 50, 50, 50, 50]


@given(st.integers(1, 32_767), st.floats(0, YEAR))
def test_back_off_ends_at_a_year(attempt, first):
    """No overflow, however many attempts there were."""
    assert 0 <= policy(delays=(first,), backoff=True).delay(attempt) <= YEAR


def test_a_list_and_back_off_contradict_each_other():
    """Refused, with what to leave out."""
    with pytest.raises(InvalidJob, match="retry_backoff doubles one retry_delay"):
        policy(delays=(1.0, 2.0), backoff=True)


@given(st.integers(1, 40), st.integers(0, 10**6), st.none() | st.integers(0, 1000))
def test_jitter_waits_a_random_part_of_the_delay(attempt, seed, cap):
    """Full jitter: anything from nothing to the whole, which is what the dice are asked for."""
    asked = []

    def uniform(low, high):
        asked.append((low, high))
        return low + (high - low) * (seed % 1000) / 999

    options = {"delays": (2.0,), "backoff": True, "max_delay": cap}
    whole = policy(**options).delay(attempt)
    delay = policy(**options, jitter=True, uniform=uniform).delay(attempt)
    assert asked == [(0.0, whole)]
    assert 0 <= delay <= whole


def test_jitter_comes_with_back_off_and_only_then(app):
    """Decided: a fixed delay is kept to the second."""
    fixed = app.job(name="fixed", retry_delay=5)(lambda: None)
    growing = app.job(name="growing", retry_backoff=True)(lambda: None)
    calm = app.job(name="calm", retry_backoff=True, retry_jitter=False)(lambda: None)
    assert [task.options.retry_jitter for task in (fixed, growing, calm)] == [False, True, False]


class Transient(Exception):
    pass


class Worse(Transient):
    pass


@pytest.mark.parametrize(
    ("options", "error", "expected"),
    [
        ({}, Transient(), 5.0),
        ({}, SystemExit(), 5.0),
        ({"retry_on": (Transient,)}, Worse(), 5.0),
        ({"retry_on": (Transient,)}, ValueError(), None),
        ({"discard_on": (Transient,)}, Worse(), None),
        ({"discard_on": (Worse,)}, Transient(), 5.0),
        ({"retry_on": (Transient,), "discard_on": (Worse,)}, Worse(), None),
        ({"retry_on": (Transient,), "discard_on": (Worse,)}, Transient(), 5.0),
        ({"retry_on": (KeyError, Transient)}, Transient(), 5.0),
    ],
)
def test_retry_on_and_discard_on_choose_by_class(options, error, expected):
    """Subclasses included; discard_on wins."""
    assert policy(delays=(5.0,), **options).delay_for(attempt=1, job=claim(), exc=error) == expected


@pytest.mark.parametrize("form", [Transient, [Transient], (Transient,), {Transient}], ids=repr)
def test_one_class_or_several_may_be_given(app, form):
    """As in an except clause, or as a list."""
    task = app.job(retry_on=form, discard_on=form)(lambda: None)
    assert task.options.retry_on == task.options.discard_on == (Transient,)


@pytest.mark.parametrize("option", ["retry_on", "discard_on"])
@pytest.mark.parametrize("value", ["ValueError", [int], Transient(), None, [None]], ids=repr)
def test_what_is_no_exception_class_is_refused(app, option, value):
    """When the job is declared."""
    with pytest.raises(InvalidJob, match=f"{option} holds"):
        app.job(**{option: value})(lambda: None)


# -- policies of an app


class Policy:
    """Answers every failure with ``answer``, or raises it; notes what it was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def delay_for(self, *, attempt, job, exc):
        self.asked.append((attempt, job, exc))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


async def failed_once(make, retry_policy, **options):
    """An app where one job has failed once, that job as it is now, and the error."""
    app = make(retry_policy=retry_policy)
    boom = Transient("boom")

    @app.job(**{"max_retries": 3, "retry_delay": 1000, **options})
    async def fail():
        raise boom

    job_id = await app.enqueue(fail)
    await app.run_worker(run_once=True)
    return app, await app.get_job(job_id), boom


def delay_of(job):
    return (job["scheduled_at"] - job["updated_at"]).total_seconds()


async def test_the_policy_is_asked_with_the_real_exception(make):
    """The attempt, the claim, the object that the handler raised; its answer is the delay."""
    asked = Policy(50)
    _, job, boom = await failed_once(make, asked)
    [(attempt, given, error)] = asked.asked
    assert (attempt, given.job_id, given.attempt) == (1, job["id"], 1)
    assert error is boom
    assert delay_of(job) == pytest.approx(50)


async def test_a_policy_that_says_none_buries_the_job(make):
    """As a permanent failure, with attempts left."""
    app, job, _ = await failed_once(make, Policy(None))
    assert job is None
    [dead] = await app.dead_letter.list_dead_letter_jobs()
    assert (dead.dead_letter_reason, dead.attempts) == ("permanent_failure", 1)


@pytest.mark.parametrize(
    "answer",
    [
        "soon",
        -1,
        math.nan,
        math.inf,
        [5],
        timedelta(5),
        1e300,
        ValueError("no idea"),
        SystemExit(1),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
async def test_a_policy_that_misbehaves_is_replaced_by_the_jobs_own_delay(make, caplog, answer):
    """The job gets its outcome, the log the reason."""
    _, job, _ = await failed_once(make, Policy(answer))
    assert job["status"] == "queued"
    assert delay_of(job) == pytest.approx(1000)
    assert "retry policy" in caplog.text


async def test_the_policy_cannot_grant_more_attempts_than_the_job_has(make):
    """max_retries=0 is one attempt, whatever the policy says."""
    app, job, _ = await failed_once(make, Policy(0), max_retries=0)
    assert job is None
    [dead] = await app.dead_letter.list_dead_letter_jobs()
    assert dead.dead_letter_reason == "max_retries_exceeded"


async def test_discard_on_is_a_permanent_failure(app):
    """Also when there was no other attempt left."""

    @app.job(discard_on=Transient, max_retries=0)
    async def hopeless():
        raise Transient

    @app.job(retry_on=KeyError, max_retries=5)
    async def unlisted():
        raise Transient

    await app.enqueue(hopeless)
    await app.enqueue(unlisted)
    await app.run_worker(run_once=True)
    dead = await app.dead_letter.list_dead_letter_jobs()
    assert [one.dead_letter_reason for one in dead] == ["permanent_failure"] * 2


async def test_the_settings_give_the_defaults(make):
    """max_retries and retry_delay of the app, where the job says nothing."""
    other = make(max_retries=7, retry_delay=77)

    @other.job
    async def fail():
        raise Transient

    job_id = await other.enqueue(fail)
    await other.run_worker(run_once=True)
    job = await other.get_job(job_id)
    assert job["max_attempts"] == 8
    assert delay_of(job) == pytest.approx(77)
