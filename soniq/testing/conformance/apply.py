# ruff: noqa: S101, PLR2004  (these are tests)
"""Apply: the eight verbs, and the guard that each stands behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from soniq.backend import StorageBackend
from soniq.jobs import Claim, ClaimRequest, DeadLetterReason, JobStatus
from soniq.records import DeadLetterFilter
from soniq.testing.conformance.support import (
    PAYLOADS,
    Conformance,
    claimed,
    enqueue_one,
    exactly,
    new_id,
    new_jobs,
    new_worker,
    seconds_between,
    stored,
    take,
    written,
)
from soniq.transitions import (
    Change,
    bury,
    cancel,
    fail,
    hasten,
    interrupt,
    rescue,
    snooze,
    succeed,
)

OUTCOMES: dict[str, Callable[[Claim], Change]] = {
    "succeed": lambda claim: succeed(claim, result_json="1", ttl=60),
    "retry": lambda claim: fail(claim, error="broken", delay=5),
    "snooze": lambda claim: snooze(claim, seconds=5, reason="later"),
    "interrupt": interrupt,
    "rescue": lambda claim: rescue(claim, max_crashes=3),
    "bury": lambda claim: bury(claim, reason=DeadLetterReason.TIMEOUT, error="late"),
}
each_outcome = pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES.keys())


class ApplyConformance(Conformance):
    """What :meth:`StorageBackend.apply` promises."""

    # -- the verbs

    def test_succeed_makes_a_job_done(self, backend: StorageBackend) -> None:
        """The result, the end and the time to keep are written; attempts stay."""
        claim = claimed(backend)
        job = written(backend, succeed(claim, result_json='{"sent": 3}', ttl=600))

        assert (job.status, job.result, job.attempts) == (JobStatus.DONE, {"sent": 3}, 1)
        assert (job.worker_id, job.last_error) == (claim.worker_id, None)
        assert seconds_between(job.started_at, job.finished_at) >= 0
        assert seconds_between(job.finished_at, job.expires_at) == pytest.approx(600, abs=0.01)

    def test_succeed_without_ttl_keeps_the_job(self, backend: StorageBackend) -> None:
        """No time to live means for ever."""
        job = written(backend, succeed(claimed(backend), result_json=None, ttl=None))

        assert (job.status, job.expires_at, job.result) == (JobStatus.DONE, None, None)

    def test_succeed_may_note_an_error(self, backend: StorageBackend) -> None:
        """A result that could not be stored leaves a note."""
        job = written(backend, succeed(claimed(backend), result_json=None, ttl=60, error="no JSON"))

        assert (job.status, job.last_error) == (JobStatus.DONE, "no JSON")

    @pytest.mark.parametrize("text", PAYLOADS.values(), ids=PAYLOADS.keys())
    def test_results_come_back_unchanged(self, backend: StorageBackend, text: str) -> None:
        """What the handler returned is what a reader gets, to the type."""
        job = written(backend, succeed(claimed(backend), result_json=text, ttl=60))

        assert exactly(job.result) == exactly(json.loads(text))

    @pytest.mark.parametrize("text", ["null", "false", "0", '""', "[]", '"text"', "1.5"])
    def test_results_need_not_be_objects(self, backend: StorageBackend, text: str) -> None:
        """Any JSON value is a result."""
        job = written(backend, succeed(claimed(backend), result_json=text, ttl=60))

        assert exactly(job.result) == exactly(json.loads(text))

    def test_retry_queues_a_job_after_its_delay(self, backend: StorageBackend) -> None:
        """The error is kept, the attempt stays counted, the delay counts from now."""
        claim = claimed(backend)
        job = written(backend, fail(claim, error="broken ✗", delay=600))

        assert (job.status, job.attempts, job.last_error) == (JobStatus.QUEUED, 1, "broken ✗")
        assert seconds_between(job.updated_at, job.scheduled_at) == pytest.approx(600, abs=0.01)
        assert (job.worker_id, job.finished_at, job.expires_at) == (claim.worker_id, None, None)
        assert backend.count_due() == 0

    def test_snooze_gives_the_attempt_back(self, backend: StorageBackend) -> None:
        """Queued again after its seconds, as if this start had not been."""
        job = written(backend, snooze(claimed(backend), seconds=600, reason="closed today"))

        assert (job.status, job.attempts, job.last_error) == (JobStatus.QUEUED, 0, "closed today")
        assert seconds_between(job.updated_at, job.scheduled_at) == pytest.approx(600, abs=0.01)

    def test_interrupt_queues_a_job_at_once(self, backend: StorageBackend) -> None:
        """Due now, the attempt given back, so even a job of one attempt runs again."""
        claim = claimed(backend, max_attempts=1)
        job = written(backend, interrupt(claim))

        assert (job.status, job.attempts, job.crashes) == (JobStatus.QUEUED, 0, 0)
        assert take(backend).attempt == 1

    def test_rescue_counts_a_crash_and_keeps_the_attempt(self, backend: StorageBackend) -> None:
        """Nobody knows whether the job killed its worker, so the start stays counted."""
        claim = claimed(backend)
        job = written(backend, rescue(claim, max_crashes=3))
        again = take(backend)

        assert (job.status, job.attempts, job.crashes) == (JobStatus.QUEUED, 1, 1)
        assert claim.worker_id in (job.last_error or "")
        assert (again.attempt, again.crashes) == (2, 1)

    def test_cancel_withdraws_a_queued_job(self, backend: StorageBackend) -> None:
        """Cancelled is an end, with an end's times."""
        job = written(backend, cancel(enqueue_one(backend, delay=3600), ttl=600))

        assert (job.status, job.attempts, job.started_at) == (JobStatus.CANCELLED, 0, None)
        assert seconds_between(job.finished_at, job.expires_at) == pytest.approx(600, abs=0.01)
        assert backend.next_due() is None

    def test_hasten_makes_a_delayed_job_due(self, backend: StorageBackend) -> None:
        """It can be claimed at once, and nothing else about it has changed."""
        job_id = enqueue_one(backend, delay=3600)
        before = stored(backend, job_id)

        job = written(backend, hasten(job_id))

        assert (job.status, job.attempts, job.max_attempts) == (JobStatus.QUEUED, 0, before.max_attempts)
        assert (job.created_at, job.finished_at, job.expires_at) == (before.created_at, None, None)
        assert take(backend).job_id == job_id

    def test_hasten_brings_a_retry_forward(self, backend: StorageBackend) -> None:
        """The error stays to be read, and the attempt stays counted."""
        claim = claimed(backend)
        backend.apply([fail(claim, error="broken", delay=3600)])

        job = written(backend, hasten(claim.job_id))

        assert (job.last_error, job.attempts) == ("broken", 1)
        assert take(backend).attempt == 2

    def test_hasten_leaves_a_due_job_its_place(self, backend: StorageBackend) -> None:
        """It would else be claimed after those that came later."""
        first = enqueue_one(backend)
        enqueue_one(backend)
        before = stored(backend, first).scheduled_at

        assert written(backend, hasten(first)).scheduled_at == before
        assert take(backend).job_id == first

    def test_hasten_keeps_a_unique_key(self, backend: StorageBackend) -> None:
        """The job is as live as before."""
        job_id = enqueue_one(backend, delay=3600, unique_key="k")

        assert backend.apply([hasten(job_id)]) == [True]
        assert enqueue_one(backend, unique_key="k") == job_id

    def test_hasten_touches_only_what_waits(self, backend: StorageBackend) -> None:
        """A job that runs or has ended is not made to run again."""
        done = written(backend, succeed(claimed(backend), result_json="1", ttl=60))
        claim = claimed(backend)
        before = stored(backend, claim.job_id)

        assert backend.apply([hasten(done.id), hasten(claim.job_id), hasten(new_id())]) == [False] * 3
        assert (stored(backend, done.id), stored(backend, claim.job_id)) == (done, before)

    def test_bury_moves_a_job_to_the_dead_letters(self, backend: StorageBackend) -> None:
        """It leaves the jobs; the dead-letter tests say what arrives."""
        claim = claimed(backend)
        change = bury(claim, reason=DeadLetterReason.TIMEOUT, error="late")

        assert backend.apply([change]) == [True]
        assert backend.get_job(claim.job_id) is None
        assert backend.queue_stats()["dead_letter"] == 1

    def test_a_change_without_error_keeps_the_last_one(self, backend: StorageBackend) -> None:
        """None means: as it is."""
        claimed_once = claimed(backend)
        backend.apply([fail(claimed_once, error="first", delay=0)])
        job = written(backend, interrupt(take(backend)))

        assert job.last_error == "first"

    def test_a_retried_job_can_succeed(self, backend: StorageBackend) -> None:
        """The whole way round: claim, fail, claim, succeed."""
        backend.apply([fail(claimed(backend), error="first", delay=0)])
        job = written(backend, succeed(take(backend), result_json='"ok"', ttl=60))

        assert (job.status, job.attempts, job.result) == (JobStatus.DONE, 2, "ok")

    # -- the history

    def test_a_job_that_succeeds_has_no_history(self, backend: StorageBackend) -> None:
        """Nor has one that was snoozed or interrupted: such starts do not count."""
        backend.apply([snooze(claimed(backend), seconds=0, reason="later")])
        backend.apply([interrupt(take(backend))])
        job = written(backend, succeed(take(backend), result_json=None, ttl=None))

        assert job.failures == ()

    def test_each_failed_attempt_is_kept(self, backend: StorageBackend) -> None:
        """Which it was, whose, from when to when, and what it died of; also once the job is done."""
        first = claimed(backend)
        started_at = stored(backend, first.job_id).started_at
        one = written(backend, fail(first, error="broken ✗\n'\"", delay=0, error_class="a.B"))
        second = take(backend)
        two = written(backend, rescue(second, max_crashes=3))
        job = written(backend, succeed(take(backend), result_json=None, ttl=None))

        assert job.failures == two.failures
        assert job.failures[:1] == one.failures
        assert [(f.attempt, f.worker_id, f.error_class) for f in job.failures] == [
            (1, first.worker_id, "a.B"),
            (2, second.worker_id, None),
        ]
        assert [f.error for f in job.failures] == ["broken ✗\n'\"", two.last_error]
        assert job.failures[0].started_at == started_at
        assert seconds_between(one.updated_at, job.failures[0].at) == pytest.approx(0, abs=0.1)
        assert job.failures[0].at.utcoffset() == timedelta(0)

    def test_the_history_holds_the_last_twenty_attempts(self, backend: StorageBackend) -> None:
        """The oldest go first, so that a job which fails for ever does not grow for ever."""
        enqueue_one(backend, max_attempts=99)
        worker = new_worker(backend)
        for number in range(22):
            [claim] = backend.claim(ClaimRequest(worker_id=worker, limit=1))
            job = written(backend, fail(claim, error=f"error {number}", delay=0))

        assert [failure.attempt for failure in job.failures] == list(range(3, 23))
        assert job.failures[-1].error == "error 21"

    def test_an_error_in_the_history_is_cut(self, backend: StorageBackend) -> None:
        """Head and tail stay; the last error is kept whole."""
        text = f"head {'ü' * 10_000} tail"
        job = written(backend, fail(claimed(backend), error=text, delay=0))
        [failure] = job.failures

        assert job.last_error == text
        assert len(failure.error.encode()) <= 4096
        assert (failure.error[:4], failure.error[-4:]) == ("head", "tail")

    def test_failures_of_a_list_are_kept_each_with_its_job(self, backend: StorageBackend) -> None:
        """However many a store writes at once."""
        backend.enqueue(new_jobs(250, max_attempts=2))
        worker = new_worker(backend)
        for attempt in (1, 2):
            claims = backend.claim(ClaimRequest(worker_id=worker, limit=250))
            errors = {claim.job_id: f"{attempt}: {number % 7}" for number, claim in enumerate(claims)}
            changes = [fail(claim, error=errors[claim.job_id], delay=0) for claim in claims]
            if attempt == 1:
                first = errors
            assert backend.apply(changes) == [True] * 250

        letters = backend.list_dead_letters(DeadLetterFilter())
        told = {letter.id: [failure.error for failure in letter.failures] for letter in letters}
        assert told == {job_id: [first[job_id], errors[job_id]] for job_id in first}

    # -- the guard

    @each_outcome
    def test_outcome_of_another_worker_changes_nothing(
        self, backend: StorageBackend, outcome: Callable[[Claim], Change]
    ) -> None:
        """Only the worker that holds the claim can end it."""
        claim = claimed(backend)
        before = stored(backend, claim.job_id)
        stranger = claim._replace(worker_id=new_worker(backend))

        assert backend.apply([outcome(stranger)]) == [False]
        assert stored(backend, claim.job_id) == before
        assert backend.queue_stats()["dead_letter"] == 0

    @each_outcome
    def test_late_outcome_of_a_lost_worker_changes_nothing(
        self, backend: StorageBackend, outcome: Callable[[Claim], Change]
    ) -> None:
        """Once a job was rescued and taken by another worker, the first one's word is void."""
        late = claimed(backend)
        backend.apply([rescue(late, max_crashes=3)])
        take(backend)
        before = stored(backend, late.job_id)

        assert backend.apply([outcome(late)]) == [False]
        assert stored(backend, late.job_id) == before
        assert backend.queue_stats()["dead_letter"] == 0

    @each_outcome
    def test_late_outcome_of_an_earlier_attempt_changes_nothing(
        self, backend: StorageBackend, outcome: Callable[[Claim], Change]
    ) -> None:
        """The same worker may hold the job again; the earlier attempt is still over."""
        worker = new_worker(backend)
        enqueue_one(backend)
        late = take(backend, worker)
        backend.apply([fail(late, error="broken", delay=0)])
        assert take(backend, worker).attempt == 2
        before = stored(backend, late.job_id)

        assert backend.apply([outcome(late)]) == [False]
        assert stored(backend, late.job_id) == before
        assert backend.queue_stats()["dead_letter"] == 0

    @each_outcome
    def test_outcome_for_a_queued_job_changes_nothing(
        self, backend: StorageBackend, outcome: Callable[[Claim], Change]
    ) -> None:
        """A job that was queued again belongs to nobody, though it names its last worker."""
        late = claimed(backend)
        backend.apply([fail(late, error="broken", delay=3600)])
        before = stored(backend, late.job_id)

        assert backend.apply([outcome(late)]) == [False]
        assert stored(backend, late.job_id) == before
        assert backend.queue_stats()["dead_letter"] == 0

    @each_outcome
    def test_outcome_for_a_deleted_job_changes_nothing(
        self, backend: StorageBackend, outcome: Callable[[Claim], Change]
    ) -> None:
        """A job that was deleted while it ran does not come back."""
        claim = claimed(backend)
        backend.delete_job(claim.job_id)

        assert backend.apply([outcome(claim)]) == [False]
        assert backend.queue_stats()["total"] == 0

    @each_outcome
    def test_a_change_applies_once(self, backend: StorageBackend, outcome: Callable[[Claim], Change]) -> None:
        """Saying the same again, after an answer was lost, changes nothing."""
        change = outcome(claimed(backend))
        assert backend.apply([change]) == [True]
        before = backend.list_jobs(), backend.queue_stats()

        assert backend.apply([change]) == [False]
        assert (backend.list_jobs(), backend.queue_stats()) == before

    def test_cancel_does_not_touch_a_processing_job(self, backend: StorageBackend) -> None:
        """A job in the hands of a worker is past cancelling."""
        claim = claimed(backend)
        before = stored(backend, claim.job_id)

        assert backend.apply([cancel(claim.job_id, ttl=60)]) == [False]
        assert stored(backend, claim.job_id) == before

    def test_cancel_does_not_touch_an_ended_job(self, backend: StorageBackend) -> None:
        """Done stays done, cancelled stays as it was cancelled."""
        done = written(backend, succeed(claimed(backend), result_json=None, ttl=60))
        gone = written(backend, cancel(enqueue_one(backend), ttl=60))

        answers = backend.apply([cancel(done.id, ttl=None), cancel(gone.id, ttl=None)])

        assert answers == [False, False]
        assert (stored(backend, done.id), stored(backend, gone.id)) == (done, gone)

    def test_a_retried_job_can_be_cancelled(self, backend: StorageBackend) -> None:
        """Queued is queued, whether or not the job ran before."""
        claim = claimed(backend)
        backend.apply([fail(claim, error="broken", delay=3600)])
        job = written(backend, cancel(claim.job_id, ttl=None))

        assert (job.status, job.last_error) == (JobStatus.CANCELLED, "broken")

    def test_changes_of_unknown_jobs_are_answered_false(self, backend: StorageBackend) -> None:
        """A job that never was has moved on, too."""
        claim = claimed(backend)._replace(job_id=new_id())

        assert backend.apply([cancel(new_id(), ttl=None), interrupt(claim)]) == [False, False]

    # -- lists

    def test_apply_of_nothing_answers_nothing(self, backend: StorageBackend) -> None:
        """An empty list is allowed."""
        assert backend.apply([]) == []

    def test_each_change_of_a_list_is_answered_for_itself(self, backend: StorageBackend) -> None:
        """A guard that does not hold stops none of its neighbours."""
        backend.enqueue(new_jobs(8))
        worker = new_worker(backend)
        good = backend.claim(ClaimRequest(worker_id=worker, limit=8))
        stranger = new_worker(backend)
        changes = [
            succeed(good[0], result_json="1", ttl=60),
            succeed(good[1]._replace(worker_id=stranger), result_json="1", ttl=60),
            fail(good[2], error="broken", delay=60),
            bury(good[3]._replace(attempt=2), reason=DeadLetterReason.TIMEOUT, error="late"),
            bury(good[4], reason=DeadLetterReason.TIMEOUT, error="late"),
            cancel(good[5].job_id, ttl=None),
            snooze(good[6], seconds=60, reason=None),
            interrupt(good[7]._replace(job_id=new_id())),
        ]

        answers = backend.apply(changes)

        assert answers == [True, False, True, False, True, False, True, False]
        untouched = [good[1], good[3], good[5], good[7]]
        statuses = {stored(backend, claim.job_id).status for claim in untouched}
        assert statuses == {JobStatus.PROCESSING}
        stats = backend.queue_stats()
        assert (stats["done"], stats["queued"], stats["dead_letter"]) == (1, 2, 1)

    def test_each_change_of_a_list_writes_its_own_values(self, backend: StorageBackend) -> None:
        """Nothing of one change ends up in the row of another."""
        backend.enqueue(new_jobs(50))
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=50))
        changes = [
            succeed(claim, result_json=str(number), ttl=number)
            if number % 2
            else fail(claim, error=f"error {number}", delay=3600 + number)
            for number, claim in enumerate(claims)
        ]

        assert backend.apply(changes) == [True] * 50
        for number, claim in enumerate(claims):
            job = stored(backend, claim.job_id)
            if number % 2:
                kept = seconds_between(job.finished_at, job.expires_at)
                assert (job.result, job.last_error) == (number, None)
                assert kept == pytest.approx(number, abs=0.01)
            else:
                waits = seconds_between(job.updated_at, job.scheduled_at)
                assert (job.result, job.last_error) == (None, f"error {number}")
                assert waits == pytest.approx(3600 + number, abs=0.01)

    @each_outcome
    def test_of_two_outcomes_of_one_claim_the_first_holds(
        self, backend: StorageBackend, outcome: Callable[[Claim], Change]
    ) -> None:
        """Within a list changes happen in order, each on what the one before left."""
        claim = claimed(backend)
        second = bury(claim, reason=DeadLetterReason.WORKER_LOST, error="second")

        assert backend.apply([outcome(claim), second]) == [True, False]
        letters = backend.queue_stats()["dead_letter"]
        assert letters == (outcome(claim).status is None)

    def test_a_large_list_is_applied_whole(self, backend: StorageBackend) -> None:
        """A list may be larger than what one statement of a database can carry."""
        backend.enqueue(new_jobs(1500))
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=1500))
        changes = [succeed(claim, result_json="1", ttl=60) for claim in claims]

        assert backend.apply(changes) == [True] * 1500
        assert backend.queue_stats()["done"] == 1500
