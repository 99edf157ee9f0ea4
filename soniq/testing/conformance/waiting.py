# ruff: noqa: S101, PLR2004  (these are tests)
"""Jobs that wait for somebody: which are overdue, which live at all, and what gives them up."""

from __future__ import annotations

from collections.abc import Callable

from soniq.backend import StorageBackend
from soniq.jobs import Claim, ClaimRequest, DeadLetterReason, JobStatus
from soniq.records import DeadLetterFilter
from soniq.testing.conformance.support import (
    Conformance,
    buried,
    claimed,
    enqueue_one,
    new_id,
    new_jobs,
    new_worker,
    stored,
    wait_until,
    written,
)
from soniq.transitions import Change, bury_waiting, cancel, fail, interrupt, snooze, succeed


def given_up(job_id: str, overdue: float = 0.0) -> Change:
    """A waiting job is to be buried."""
    return bury_waiting(
        job_id, reason=DeadLetterReason.JOB_NOT_FOUND, error="nobody knows it", overdue=overdue
    )


def overdue_ids(backend: StorageBackend, *, seconds: float = 0.0, limit: int = 100) -> list[str]:
    """The ids of overdue jobs."""
    return [job.job_id for job in backend.overdue(seconds=seconds, limit=limit)]


class WaitingConformance(Conformance):
    """What is promised about jobs that wait."""

    # -- overdue

    def test_a_due_job_is_overdue_and_says_what_it_is(self, backend: StorageBackend) -> None:
        """Its id, its name, its queue and for how long."""
        job_id = enqueue_one(backend, job_name="old.name", queue="mail")

        [job] = backend.overdue(seconds=0, limit=10)

        assert (job.job_id, job.job_name, job.queue) == (job_id, "old.name", "mail")
        assert 0 <= job.overdue < 30
        wait_until(lambda: backend.overdue(seconds=0, limit=1)[0].overdue > job.overdue)

    def test_only_waiting_jobs_that_are_due_are_overdue(self, backend: StorageBackend) -> None:
        """Not those that are delayed, run, ended, or are dead."""
        buried(backend)
        written(backend, cancel(enqueue_one(backend), ttl=None))
        written(backend, succeed(claimed(backend), result_json=None, ttl=None))
        claimed(backend)
        enqueue_one(backend, delay=3600)

        assert backend.overdue(seconds=0, limit=100) == []

    def test_overdue_jobs_are_those_that_have_waited_long_enough(self, backend: StorageBackend) -> None:
        """To the time of the call, by the clock of the store."""
        job_id = enqueue_one(backend)

        assert overdue_ids(backend, seconds=60) == []
        wait_until(lambda: overdue_ids(backend, seconds=0.2) == [job_id])

    def test_overdue_jobs_come_in_the_order_of_a_claim(self, backend: StorageBackend) -> None:
        """By priority, then by time; of these the first ``limit``."""
        made = backend.enqueue(
            [
                *new_jobs(2, priority=7),
                *new_jobs(1, priority=3),
                *new_jobs(1, priority=7),
                *new_jobs(3, priority=5, delay=3600),
                *new_jobs(1, priority=9, queue="other"),
            ]
        )
        order = [made[2], *sorted([made[0], made[1], made[3]]), made[7]]

        assert overdue_ids(backend) == order
        assert overdue_ids(backend, limit=3) == order[:3]
        assert overdue_ids(backend, limit=0) == []

    def test_overdue_jobs_can_be_asked_for_by_queue(self, backend: StorageBackend) -> None:
        """Of several queues in one order; of none, none."""
        made = backend.enqueue(
            [
                *new_jobs(1, queue="a", priority=9),
                *new_jobs(1, queue="b", priority=1),
                *new_jobs(1, queue="c", priority=0),
                *new_jobs(1, queue="a", priority=1),
            ]
        )

        def of(*queues: str, limit: int = 10) -> list[str]:
            return [job.job_id for job in backend.overdue(seconds=0, limit=limit, queues=queues)]

        assert of("a", "b") == [made[1], made[3], made[0]]
        assert of("a", "b", limit=2) == [made[1], made[3]]
        assert of("c") == [made[2]]
        assert of("d") == []
        assert of() == []

    # -- giving up

    def test_a_waiting_job_can_be_buried(self, backend: StorageBackend) -> None:
        """It becomes a dead letter with its reason, its error and no attempt; its key is free again."""
        job_id = enqueue_one(backend, job_name="old.name", args_json='{"n": 1}', unique_key="k")

        assert backend.apply([given_up(job_id)]) == [True]

        assert backend.get_job(job_id) is None
        [letter] = backend.list_dead_letters(DeadLetterFilter())
        assert (letter.id, letter.job_name, letter.args) == (job_id, "old.name", {"n": 1})
        assert (letter.dead_letter_reason, letter.attempts) == (DeadLetterReason.JOB_NOT_FOUND, 0)
        assert letter.last_error == "nobody knows it"
        again = new_jobs(1, unique_key="k")
        assert backend.enqueue(again) == [again[0].id]

    def test_a_claimed_job_is_not_buried_as_waiting(self, backend: StorageBackend) -> None:
        """A worker that knows it was quicker: it keeps the job."""
        claim = claimed(backend)

        assert backend.apply([given_up(claim.job_id)]) == [False]
        assert written(backend, succeed(claim, result_json=None, ttl=None)).status is JobStatus.DONE

    def test_a_buried_job_cannot_be_claimed(self, backend: StorageBackend) -> None:
        """Nor buried twice."""
        job_id = enqueue_one(backend)
        backend.apply([given_up(job_id)])

        assert backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=1)) == []
        assert backend.apply([given_up(job_id), given_up(new_id())]) == [False, False]

    def test_a_job_that_has_not_waited_long_enough_is_not_buried(self, backend: StorageBackend) -> None:
        """Each change of a list is held to its own time."""
        job_id, other = backend.enqueue(new_jobs(2))

        assert backend.apply([given_up(job_id, overdue=60), given_up(other)]) == [False, True]
        assert stored(backend, job_id).status is JobStatus.QUEUED
        wait_until(lambda: backend.apply([given_up(job_id, overdue=0.2)]) == [True])

    def test_a_job_that_somebody_gave_back_waits_anew(self, backend: StorageBackend) -> None:
        """Whoever had it meanwhile knows it: what was seen before that is no reason any more."""
        give_back: dict[str, Callable[[Claim], Change]] = {
            "retry": lambda claim: fail(claim, error="broken", delay=0),
            "snooze": lambda claim: snooze(claim, seconds=0, reason=None),
            "interrupt": interrupt,
        }
        ids = backend.enqueue(new_jobs(len(give_back)))
        wait_until(lambda: len(overdue_ids(backend, seconds=0.5)) == len(ids))
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=len(ids)))

        for claim, (verb, change) in zip(claims, give_back.items(), strict=True):
            assert backend.apply([change(claim)]) == [True], verb
            assert backend.apply([given_up(claim.job_id, overdue=0.5)]) == [False], verb
            assert stored(backend, claim.job_id).status is JobStatus.QUEUED, verb

    # -- live jobs

    def test_live_jobs_are_counted_by_name_queue_and_status(self, backend: StorageBackend) -> None:
        """Delayed ones too; what ended is not live."""
        buried(backend)
        written(backend, cancel(enqueue_one(backend), ttl=None))
        written(backend, succeed(claimed(backend), result_json=None, ttl=None))
        first = stored(backend, claimed(backend, job_name="b").job_id)
        second = stored(backend, enqueue_one(backend, job_name="b"))
        backend.enqueue(new_jobs(2, job_name="b", delay=60))
        backend.enqueue(new_jobs(1, job_name="b", queue="a"))
        backend.enqueue(new_jobs(1, job_name="a", queue="z"))

        found = [(one.job_name, one.queue, str(one.status), one.count) for one in backend.count_live()]

        assert found == [
            ("a", "z", "queued", 1),
            ("b", "a", "queued", 1),
            ("b", "default", "processing", 1),
            ("b", "default", "queued", 3),
        ]
        oldest = [one.oldest for one in backend.count_live()]
        assert oldest[2:] == [first.created_at, second.created_at]

    def test_an_empty_store_has_no_live_jobs(self, backend: StorageBackend) -> None:
        """Nothing to count and nowhere to walk."""
        assert backend.count_live() == []
        assert backend.walk_live(limit=10) == []

    def test_a_walk_meets_every_live_job_once(self, backend: StorageBackend) -> None:
        """In batches, each from behind the last id of the one before."""
        written(backend, cancel(enqueue_one(backend), ttl=None))
        running = claimed(backend).job_id
        waiting = backend.enqueue([*new_jobs(4, priority=3), *new_jobs(2, delay=60)])
        met: list[str] = []
        for length in (3, 3, 1, 0):
            batch = backend.walk_live(after=met[-1] if met else None, limit=3)
            assert len(batch) == length
            assert batch == [stored(backend, job.id) for job in batch]
            met += [job.id for job in batch]

        assert met == sorted([running, *waiting])
