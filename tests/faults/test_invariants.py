"""The check itself finds what it is there to find."""

import pytest

from tests.faults.harness.history import Claim, claims_by_job
from tests.faults.harness.invariants import Facts, check
from tests.faults.harness.ledger import Event

JOB = "01a203eb-25b7-7d0e-a829-37a947cf3f2f"
ANN = "11111111-1111-4111-8111-111111111111"
BOB = "22222222-2222-4222-8222-222222222222"


def run(worker, attempt, since, until=None):
    started = Event(since, 1, worker, JOB, attempt, "started")
    return [started] if until is None else [started, Event(until, 1, worker, JOB, attempt, "finished")]


def facts(**changes):
    """A job that was claimed, run and done by Ann, who has left."""
    given = {
        "enqueued": [JOB],
        "done": {JOB: (ANN, 1)},
        "cancelled": set(),
        "dead": {},
        "unfinished": {},
        "claims": {JOB: [Claim(ANN, 1, 10.0, 20.0, "done")]},
        "events": run(ANN, 1, 11.0, 19.0),
        "max_attempts": {JOB: 2},
        "unable": set(),
        "outages": [],
        "workers_left": set(),
        "sessions": [],
        "processes": [],
        "expected_dead": set(),
    }
    return Facts(**{**given, **changes})


def taken_over(**changes):
    """Ann was lost in the middle, and Bob did it."""
    given = {
        "done": {JOB: (BOB, 2)},
        "claims": {JOB: [Claim(ANN, 1, 10.0, 14.0, "rescue"), Claim(BOB, 2, 15.0, 20.0, "done")]},
        "events": run(ANN, 1, 11.0) + run(BOB, 2, 16.0, 19.0),
        "unable": {ANN},
    }
    return facts(**{**given, **changes})


def test_what_went_well_passes():
    check(facts())
    check(taken_over())
    check(taken_over(unable=set(), outages=[(9.0, 15.0)]))
    check(facts(done={}, cancelled={JOB}, claims={}, events=[]))
    check(
        facts(
            done={},
            dead={JOB: "timeout"},
            expected_dead={JOB},
            claims={JOB: [Claim(ANN, 1, 10.0, 20.0, "deleted")]},
        )
    )


VIOLATIONS = {
    "a lost job": ("I1", facts(done={}, claims={}, events=[])),
    "a job in two tables": ("I1", facts(dead={JOB: "timeout"}, expected_dead={JOB})),
    "a job that waits for ever": ("I1", facts(done={}, unfinished={JOB: "queued"}, claims={}, events=[])),
    "a job that died unexpectedly": ("I1", facts(done={}, dead={JOB: "timeout"})),
    "two runs of one claim": ("I2", facts(events=run(ANN, 1, 11.0, 12.0) + run(ANN, 1, 13.0, 14.0))),
    "a run without a claim": ("I2", facts(events=run(ANN, 1, 11.0, 19.0) + run(BOB, 1, 11.0, 19.0))),
    "a run that starts before its claim": ("I2", facts(events=run(ANN, 1, 9.0, 19.0))),
    "a run that starts after its claim": ("I2", facts(events=run(ANN, 1, 21.0, 22.0))),
    "a rescue from the living": ("I2", taken_over(unable=set())),
    "a rescue long after an outage": ("I2", taken_over(unable=set(), outages=[(1.0, 5.0)])),
    "two outcomes": (
        "I3",
        facts(claims={JOB: [Claim(ANN, 1, 10.0, 12.0, "done"), Claim(ANN, 1, 13.0, 20.0, "done")]}),
    ),
    "no outcome": ("I3", facts(claims={JOB: [Claim(ANN, 1, 10.0, 20.0, "interrupt")]})),
    "an outcome of the former owner": ("I3", taken_over(done={JOB: (ANN, 1)})),
    "an outcome of a run that never ended": (
        "I3",
        taken_over(events=run(ANN, 1, 11.0, 13.0) + run(BOB, 2, 16.0)),
    ),
    "too many starts": ("I4", taken_over(max_attempts={JOB: 1})),
    "a claim that is left": ("I5", facts(done={}, unfinished={JOB: "processing"})),
    "a worker's row that is left": ("I5", facts(workers_left={ANN})),
    "a session that is left": ("I5", facts(sessions=["idle in transaction"])),
    "a process that is left": ("I5", facts(processes=[4711])),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_found(name):
    invariant, violated = VIOLATIONS[name]
    with pytest.raises(AssertionError, match=f"{invariant}:"):
        check(violated)


def test_the_history_tells_how_each_claim_ended():
    """By what the row's counters did."""
    rows = [
        (1.0, JOB, None, "queued", None, 0, None, 0, None),
        (2.0, JOB, "queued", "processing", ANN, 1, 0, 0, 0),
        (3.0, JOB, "processing", "queued", ANN, 0, 1, 0, 0),
        (4.0, JOB, "queued", "processing", ANN, 1, 0, 0, 0),
        (5.0, JOB, "processing", "queued", ANN, 1, 1, 1, 0),
        (6.0, JOB, "queued", "processing", BOB, 2, 1, 1, 1),
        (7.0, JOB, "processing", "queued", BOB, 2, 2, 1, 1),
        (8.0, JOB, "queued", "processing", BOB, 3, 2, 1, 1),
        (9.0, JOB, "processing", "done", BOB, 3, 3, 1, 1),
    ]
    claims = claims_by_job(rows)[JOB]
    assert [(c.worker, c.attempt, c.begun, c.ended, c.how) for c in claims] == [
        (ANN, 1, 2.0, 3.0, "interrupt"),
        (ANN, 1, 4.0, 5.0, "rescue"),
        (BOB, 2, 6.0, 7.0, "retry"),
        (BOB, 3, 8.0, 9.0, "done"),
    ]
