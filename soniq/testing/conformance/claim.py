# ruff: noqa: S101, PLR2004  (these are tests)
"""Claim: order, filters, counting; and asking what could be claimed."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from soniq.backend import StorageBackend
from soniq.jobs import ClaimRequest, JobStatus
from soniq.testing.conformance.support import (
    Conformance,
    claimed,
    enqueue_one,
    flat,
    hours_from_now,
    ids_of,
    new_job,
    new_jobs,
    new_worker,
    stored,
    take,
    wait_until,
)
from soniq.transitions import cancel, fail, interrupt, rescue, succeed


class ClaimConformance(Conformance):
    """What :meth:`StorageBackend.claim`, ``count_due`` and ``next_due`` promise."""

    # -- order

    def test_lower_priority_numbers_come_first(self, backend: StorageBackend) -> None:
        """Priority is the first key of the order, before time."""
        late = hours_from_now(-1)
        early = hours_from_now(-2)
        jobs = [
            new_job(priority=1000, scheduled_at=early),
            new_job(priority=0, scheduled_at=late),
            new_job(priority=50, scheduled_at=early),
        ]
        backend.enqueue(jobs)
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=3))

        assert [claim.priority for claim in claims] == [0, 50, 1000]

    def test_earlier_jobs_come_first_within_a_priority(self, backend: StorageBackend) -> None:
        """Time is the second key, whatever the order of enqueueing."""
        jobs = [new_job(scheduled_at=hours_from_now(-hours)) for hours in (1, 3, 2)]
        backend.enqueue(jobs)
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=3))

        assert ids_of(claims) == [jobs[1].id, jobs[2].id, jobs[0].id]

    def test_ids_decide_between_equal_jobs(self, backend: StorageBackend) -> None:
        """The id is the last key, so jobs of one moment run in the order they were made."""
        jobs = new_jobs(20, scheduled_at=hours_from_now(-1))
        backend.enqueue(jobs[::-1])
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=20))

        assert ids_of(claims) == [job.id for job in jobs]

    def test_a_claim_takes_the_first_jobs_of_the_order(self, backend: StorageBackend) -> None:
        """What a limit cuts off is the end of the order."""
        jobs = new_jobs(10, scheduled_at=hours_from_now(-1))
        backend.enqueue(jobs[::-1])
        worker = new_worker(backend)
        taken = [ids_of(backend.claim(ClaimRequest(worker_id=worker, limit=4))) for _ in range(4)]

        assert [len(ids) for ids in taken] == [4, 4, 2, 0]
        assert flat(taken) == [job.id for job in jobs]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_claim_of_no_jobs_takes_none(self, backend: StorageBackend, limit: int) -> None:
        """No free slot means no job, never all of them."""
        enqueue_one(backend)

        assert backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=limit)) == []
        assert backend.count_due() == 1

    # -- what is due

    def test_a_job_is_not_claimed_before_its_time(self, backend: StorageBackend) -> None:
        """Neither an instant nor a delay is cut short."""
        backend.enqueue([new_job(scheduled_at=hours_from_now(1)), new_job(delay=3600)])

        assert backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=10)) == []

    def test_a_delayed_job_is_claimed_once_due(self, backend: StorageBackend) -> None:
        """Nothing has to happen to the job when its time comes."""
        job_id = enqueue_one(backend, delay=0.05)
        worker = new_worker(backend)
        wait_until(lambda: ids_of(backend.claim(ClaimRequest(worker_id=worker, limit=1))) == [job_id])

    def test_jobs_that_are_not_due_do_not_block_others(self, backend: StorageBackend) -> None:
        """A first place in the order is worth nothing before its time."""
        backend.enqueue(new_jobs(30, priority=0, delay=3600))
        job_id = enqueue_one(backend, priority=1000)

        assert ids_of(backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=5))) == [job_id]

    def test_a_claimed_job_is_not_claimed_again(self, backend: StorageBackend) -> None:
        """Not by another worker and not by the same."""
        claim = claimed(backend)

        assert backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=10)) == []
        assert backend.claim(ClaimRequest(worker_id=claim.worker_id, limit=10)) == []

    def test_ended_jobs_are_not_claimed(self, backend: StorageBackend) -> None:
        """Done and cancelled are final."""
        backend.apply([succeed(claimed(backend), result_json=None, ttl=None)])
        backend.apply([cancel(enqueue_one(backend), ttl=None)])

        assert backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=10)) == []

    # -- filters

    @pytest.mark.parametrize("kind", [list, tuple, set, frozenset, dict.fromkeys])
    def test_only_the_given_queues_are_claimed(
        self, backend: StorageBackend, kind: type[Collection[str]]
    ) -> None:
        """Other queues are left alone; any collection will do."""
        backend.enqueue([new_job(queue=queue) for queue in ("a", "b", "c", "a")])
        queues = kind(["a", "c"])  # type: ignore[call-arg]  # all of them take an iterable
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=10, queues=queues))

        assert sorted(claim.queue for claim in claims) == ["a", "a", "c"]

    def test_a_queue_that_is_named_twice_counts_once(self, backend: StorageBackend) -> None:
        """The limit is filled with different jobs."""
        backend.enqueue([new_job(queue=queue) for queue in ("a", "a", "b")])
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=2, queues=["a", "b", "a"]))

        assert len(claims) == 2
        assert backend.count_due(queues=["a", "b", "a"]) == 1

    def test_only_the_given_names_are_claimed(self, backend: StorageBackend) -> None:
        """Jobs of unknown names stay queued for workers that know them."""
        backend.enqueue([new_job(job_name=name) for name in ("x", "y", "z")])
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=10, names=["z", "x", "w"]))

        assert sorted(claim.job_name for claim in claims) == ["x", "z"]

    @pytest.mark.parametrize("alike", ["A", "a ", "ä", "à"])
    def test_names_that_look_alike_are_different(self, backend: StorageBackend, alike: str) -> None:
        """Upper case, a space at the end, an accent: what a program tells apart, a store does."""
        mine = enqueue_one(backend, queue="a", job_name="a", unique_key="a")
        other = enqueue_one(backend, queue=alike, job_name=alike, unique_key=alike)
        worker = new_worker(backend)

        assert mine != other
        assert backend.count_due(queues=["a"]) == backend.count_due(names=[alike]) == 1
        assert [job.id for job in backend.list_jobs(queue=alike)] == [other]
        assert ids_of(backend.claim(ClaimRequest(worker_id=worker, limit=9, queues=["a"]))) == [mine]
        assert ids_of(backend.claim(ClaimRequest(worker_id=worker, limit=9, names=[alike]))) == [other]

    def test_queues_and_names_must_both_match(self, backend: StorageBackend) -> None:
        """The filters are joined by and."""
        backend.enqueue([new_job(queue=q, job_name=n) for q in "ab" for n in "xy"])
        claims = backend.claim(
            ClaimRequest(worker_id=new_worker(backend), limit=10, queues=["a"], names=["y"])
        )

        assert [(claim.queue, claim.job_name) for claim in claims] == [("a", "y")]

    def test_an_empty_filter_matches_nothing(self, backend: StorageBackend) -> None:
        """None means all; no queues and no names mean none."""
        enqueue_one(backend)
        worker = new_worker(backend)

        assert backend.claim(ClaimRequest(worker_id=worker, limit=10, queues=[])) == []
        assert backend.claim(ClaimRequest(worker_id=worker, limit=10, names=[])) == []
        assert backend.count_due(queues=[]) == 0
        assert backend.next_due(names=[]) is None

    def test_filtered_jobs_do_not_use_up_the_limit(self, backend: StorageBackend) -> None:
        """The limit counts what is taken, not what is looked at."""
        backend.enqueue(new_jobs(30, queue="other", priority=0))
        job_id = enqueue_one(backend, queue="mine")
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=1, queues=["mine"]))

        assert ids_of(claims) == [job_id]

    def test_skip_own_leaves_jobs_that_this_worker_had_last(self, backend: StorageBackend) -> None:
        """A worker that gave a job back can leave it to the others."""
        claim = claimed(backend)
        backend.apply([interrupt(claim)])

        assert backend.claim(ClaimRequest(worker_id=claim.worker_id, limit=10, skip_own=True)) == []
        other = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=10, skip_own=True))

        assert ids_of(other) == [claim.job_id]

    def test_skip_own_takes_jobs_that_nobody_had(self, backend: StorageBackend) -> None:
        """A job that was never claimed is nobody's own."""
        job_id = enqueue_one(backend)
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=10, skip_own=True))

        assert ids_of(claims) == [job_id]

    def test_a_claim_tells_jobs_with_a_crash_behind_them_from_others(self, backend: StorageBackend) -> None:
        """True takes those alone, False the others alone."""
        lost, other = new_worker(backend), new_worker(backend)
        crashed, fresh = backend.enqueue([new_job(), new_job(priority=200)])
        [claim] = backend.claim(ClaimRequest(worker_id=lost, limit=1))
        assert backend.apply([rescue(claim, max_crashes=3)]) == [True]

        assert backend.claim(ClaimRequest(worker_id=other, limit=0, crashed=True)) == []
        [without] = backend.claim(ClaimRequest(worker_id=other, limit=9, crashed=False))
        [with_crash] = backend.claim(ClaimRequest(worker_id=other, limit=9, crashed=True))

        assert (without.job_id, without.crashes) == (fresh, 0)
        assert (with_crash.job_id, with_crash.crashes) == (crashed, 1)

    def test_without_skip_own_a_worker_gets_its_jobs_back(self, backend: StorageBackend) -> None:
        """By default a job may go to the worker that had it before."""
        claim = claimed(backend)
        backend.apply([interrupt(claim)])

        assert ids_of(backend.claim(ClaimRequest(worker_id=claim.worker_id, limit=10))) == [claim.job_id]

    # -- what a claim writes

    def test_a_claimed_job_is_processing_under_its_worker(self, backend: StorageBackend) -> None:
        """The row says who has it, since when, and as which attempt."""
        worker = new_worker(backend)
        job_id = enqueue_one(backend)
        before = stored(backend, job_id)
        claim = take(backend, worker)
        job = stored(backend, job_id)

        assert (claim.worker_id, claim.attempt) == (worker, 1)
        assert (job.status, job.worker_id, job.attempts) == (JobStatus.PROCESSING, worker, 1)
        assert job.started_at is not None
        assert job.started_at >= before.created_at
        assert job.updated_at >= before.updated_at
        assert (job.scheduled_at, job.created_at) == (before.scheduled_at, before.created_at)

    def test_each_claim_counts_one_attempt(self, backend: StorageBackend) -> None:
        """Attempts count from 1, one for each start."""
        enqueue_one(backend, max_attempts=9)
        attempts = []
        for _ in range(4):
            claim = take(backend)
            attempts.append(claim.attempt)
            backend.apply([fail(claim, error="broken", delay=0)])

        assert attempts == [1, 2, 3, 4]

    # -- asking

    def test_count_due_counts_what_a_claim_could_take(self, backend: StorageBackend) -> None:
        """Due and queued jobs only."""
        claimed(backend)
        backend.apply([cancel(enqueue_one(backend), ttl=None)])
        backend.enqueue([*new_jobs(3), new_job(delay=3600)])

        assert backend.count_due() == 3
        assert len(backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=10))) == 3
        assert backend.count_due() == 0

    def test_count_due_takes_the_filters_of_claim(self, backend: StorageBackend) -> None:
        """Queues and names narrow the count."""
        backend.enqueue([new_job(queue=q, job_name=n) for q in "ab" for n in "xyy"])

        assert backend.count_due(queues=["a"]) == 3
        assert backend.count_due(names=["y", "z"]) == 4
        assert backend.count_due(queues=["a"], names=["y"]) == 2

    def test_next_due_is_none_without_queued_jobs(self, backend: StorageBackend) -> None:
        """A processing or finished job is not waited for."""
        assert backend.next_due() is None
        claim = claimed(backend)
        assert backend.next_due() is None
        backend.apply([succeed(claim, result_json=None, ttl=None)])

        assert backend.next_due() is None

    def test_next_due_is_not_positive_when_a_job_is_due(self, backend: StorageBackend) -> None:
        """Zero or less means: claim now."""
        backend.enqueue([new_job(), new_job(delay=3600)])
        seconds = backend.next_due()

        assert seconds is not None
        assert seconds <= 0

    def test_next_due_says_how_long_the_earliest_job_waits(self, backend: StorageBackend) -> None:
        """The earliest in time, not the first by priority."""
        backend.enqueue([new_job(delay=7200, priority=0), new_job(delay=600, priority=1000)])

        assert backend.next_due() == pytest.approx(600, abs=30)

    def test_next_due_takes_the_filters_of_claim(self, backend: StorageBackend) -> None:
        """Queues and names narrow what is waited for."""
        backend.enqueue(
            [
                new_job(queue="a", job_name="x", delay=600),
                new_job(queue="b", job_name="x", delay=1200),
                new_job(queue="b", job_name="y", delay=1800),
            ]
        )

        assert backend.next_due(queues=["b"]) == pytest.approx(1200, abs=30)
        assert backend.next_due(names=["y"]) == pytest.approx(1800, abs=30)
        assert backend.next_due(queues=["a"], names=["y"]) is None
