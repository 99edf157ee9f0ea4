"""Bursts of sync jobs: each taken job is either run to its outcome or handed back, never lost."""

from __future__ import annotations

import threading

import pytest

from soniq import burst as module
from soniq import transitions
from soniq.burst import Burst
from soniq.execution import Outcome
from tests.core.test_transitions import claim


def outcome(job):
    return Outcome(job, transitions.interrupt(job))


@pytest.fixture
def jobs():
    return [claim(attempt=number) for number in (1, 2, 3)]


def test_a_burst_runs_what_is_ready_in_order(jobs):
    """One after the other, each outcome delivered before the next job begins."""
    seen = []
    rest = iter([*jobs[1:], None])

    def attempt(job):
        seen.append(("run", job.attempt))
        return outcome(job)

    Burst(
        jobs[0],
        more=lambda: next(rest),
        attempt=attempt,
        deliver=lambda made: seen.append(("deliver", made.claim.attempt)),
    )()
    assert seen == [(what, number) for number in (1, 2, 3) for what in ("run", "deliver")]


def test_a_burst_ends_after_its_time(jobs, monkeypatch):
    """So that its thread goes back to the loop; it takes no job that it does not run."""
    monkeypatch.setattr(module, "LENGTH", 0)
    delivered = []
    Burst(jobs[0], more=pytest.fail, attempt=outcome, deliver=delivered.append)()
    assert [made.claim for made in delivered] == jobs[:1]


def test_a_burst_revoked_before_it_starts_runs_nothing(jobs):
    """Its job is handed back."""
    burst = Burst(jobs[0], more=pytest.fail, attempt=pytest.fail, deliver=pytest.fail)
    assert burst.revoke() == jobs[0]
    burst()
    assert burst.current is None


def test_the_outcome_of_a_revoked_job_is_dropped(jobs):
    """And no other job is taken."""
    revoked = []

    def attempt(job):
        revoked.append(burst.revoke())
        return outcome(job)

    burst = Burst(jobs[0], more=pytest.fail, attempt=attempt, deliver=pytest.fail)
    burst()
    assert revoked == [jobs[0]]


def test_a_job_taken_while_the_burst_is_revoked_is_not_lost(jobs):
    """Whoever revokes is told of it; it has no outcome of its own then."""
    delivered, revoked = [], []
    threads = []

    def more():
        # Comes in between taking the job and starting it.
        threads.append(threading.Thread(target=lambda: revoked.append(burst.revoke())))
        threads[0].start()
        threads[0].join(0.05)
        return jobs[1]

    def attempt(job):
        if threads:
            threads[0].join()
        return outcome(job)

    burst = Burst(jobs[0], more=more, attempt=attempt, deliver=delivered.append)
    burst()
    threads[0].join()
    assert [made.claim for made in delivered] == [jobs[0]]
    assert revoked == [jobs[1]]


def test_between_two_jobs_there_is_nothing_to_revoke(jobs):
    """The first is recorded, the second not taken yet."""
    revoked = []
    burst = Burst(
        jobs[0], more=pytest.fail, attempt=outcome, deliver=lambda made: revoked.append(burst.revoke())
    )
    burst()
    assert revoked == [None]
