# ruff: noqa: S101, PLR2004  (these are tests)
"""Liveness: workers that register, beat and fall silent, and the jobs they leave behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from soniq.backend import StorageBackend
from soniq.jobs import ClaimRequest, DeadLetterReason, JobStatus, WorkerInfo
from soniq.records import WorkerRecord
from soniq.testing.conformance.support import (
    Conformance,
    claimed,
    enqueue_one,
    ids_of,
    new_id,
    new_jobs,
    new_worker,
    seconds_between,
    stored,
    take,
    wait_until,
)
from soniq.transitions import bury, fail, rescue, succeed

# A worker that just beat is alive by the long one, and soon silent by the short one.
LONG = 3600.0
SHORT = 0.02


def record_of(backend: StorageBackend, worker_id: str) -> WorkerRecord:
    """The record of the worker with this id."""
    [record] = [worker for worker in backend.list_workers() if worker.id == worker_id]
    return record


class LivenessConformance(Conformance):
    """What the methods about workers promise."""

    # -- workers

    def test_a_registered_worker_is_listed(self, backend: StorageBackend) -> None:
        """The record says what the worker said, and when."""
        worker = WorkerInfo(
            id=new_id(), hostname="höst-1", pid=4711, concurrency=8, queues=("mails", "default")
        )
        backend.register(worker)
        [record] = backend.list_workers()

        assert (record.id, record.hostname, record.pid) == (worker.id, "höst-1", 4711)
        assert (record.concurrency, record.queues) == (8, ("mails", "default"))
        assert record.started_at.utcoffset() == timedelta(0)
        assert seconds_between(record.started_at, datetime.now(tz=UTC)) == pytest.approx(0, abs=60)
        assert record.last_heartbeat_at == record.started_at

    def test_a_worker_of_all_queues_says_none(self, backend: StorageBackend) -> None:
        """All queues and no queue at all are different things."""
        everything = new_worker(backend, queues=None)
        nothing = new_worker(backend, queues=())

        assert record_of(backend, everything).queues is None
        assert record_of(backend, nothing).queues == ()

    def test_workers_are_listed_oldest_first(self, backend: StorageBackend) -> None:
        """In the order in which they started."""
        workers = [new_worker(backend) for _ in range(5)]
        backend.beat(workers[0])

        assert [record.id for record in backend.list_workers()] == workers

    def test_registering_again_is_one_worker(self, backend: StorageBackend) -> None:
        """A worker that was not sure whether it is known may say so twice."""
        worker = new_worker(backend, concurrency=1)
        new_worker(backend, id=worker, concurrency=2)
        [record] = backend.list_workers()

        assert (record.id, record.concurrency) == (worker, 2)

    def test_a_beat_is_noted(self, backend: StorageBackend) -> None:
        """The last beat moves, the start does not."""
        worker = new_worker(backend)
        started = record_of(backend, worker).started_at

        def beat_moved() -> bool:
            assert backend.beat(worker) is True
            return record_of(backend, worker).last_heartbeat_at > started

        wait_until(beat_moved)
        assert record_of(backend, worker).started_at == started

    def test_a_beat_of_an_unknown_worker_says_so(self, backend: StorageBackend) -> None:
        """It must learn that its claims are forfeit, and is not made known by asking."""
        assert backend.beat(new_id()) is False
        assert backend.list_workers() == []

    def test_a_beat_after_deregistering_says_so(self, backend: StorageBackend) -> None:
        """Forgotten is forgotten, until it registers again."""
        worker = new_worker(backend)
        backend.deregister(worker)
        assert backend.beat(worker) is False
        new_worker(backend, id=worker)

        assert backend.beat(worker) is True

    def test_deregistering_forgets_one_worker(self, backend: StorageBackend) -> None:
        """Others stay; an unknown worker is no error."""
        worker, other = new_worker(backend), new_worker(backend)
        backend.deregister(worker)
        backend.deregister(worker)
        backend.deregister(new_id())

        assert [record.id for record in backend.list_workers()] == [other]

    # -- held

    def test_held_are_the_claims_of_one_worker(self, backend: StorageBackend) -> None:
        """As they were given out, in order of id; neither another worker's nor finished ones."""
        worker = new_worker(backend)
        backend.enqueue(new_jobs(4))
        first, second, done = (take(backend, worker) for _ in range(3))
        take(backend)
        backend.apply([succeed(done, result_json=None, ttl=60)])

        assert backend.held(worker) == sorted([first, second], key=lambda claim: claim.job_id)
        assert backend.held(new_worker(backend)) == []

    # -- orphans

    def test_jobs_of_a_living_worker_are_no_orphans(self, backend: StorageBackend) -> None:
        """A beat within the time is enough."""
        claimed(backend)

        assert backend.orphans(dead_after=LONG, limit=10) == []

    def test_jobs_of_a_deregistered_worker_are_orphans_at_once(self, backend: StorageBackend) -> None:
        """No time has to pass; the orphan is the claim that was lost."""
        claim = claimed(backend, args_json='{"x": 1}', priority=7, queue="q")
        backend.deregister(claim.worker_id)

        assert backend.orphans(dead_after=LONG, limit=10) == [claim]

    def test_jobs_of_a_silent_worker_are_orphans(self, backend: StorageBackend) -> None:
        """A worker that is known but did not beat in time counts as dead."""
        claim = claimed(backend)
        wait_until(lambda: backend.orphans(dead_after=SHORT, limit=10) == [claim])

    def test_a_beat_keeps_jobs_from_becoming_orphans(self, backend: StorageBackend) -> None:
        """Orphans are about the last beat, not about the start of the worker or the job."""
        dead, alive = new_worker(backend), new_worker(backend)
        backend.enqueue(new_jobs(2))
        lost = take(backend, dead)
        take(backend, alive)

        def silence_of(worker: str) -> float:
            now = max(record.last_heartbeat_at for record in backend.list_workers())
            return seconds_between(record_of(backend, worker).last_heartbeat_at, now)

        def only_one_is_silent() -> bool:
            backend.beat(alive)
            return silence_of(dead) > 1.0

        wait_until(only_one_is_silent)
        assert backend.orphans(dead_after=1.0, limit=10) == [lost]

    def test_only_processing_jobs_are_orphans(self, backend: StorageBackend) -> None:
        """A queued or finished job that names a dead worker is not lost."""
        worker = new_worker(backend)
        backend.enqueue(new_jobs(3))
        done, retried, dead = (take(backend, worker) for _ in range(3))
        backend.apply(
            [
                succeed(done, result_json=None, ttl=60),
                fail(retried, error="broken", delay=3600),
                bury(dead, reason=DeadLetterReason.TIMEOUT, error="late"),
            ]
        )
        enqueue_one(backend)
        backend.deregister(worker)

        assert backend.orphans(dead_after=LONG, limit=10) == []

    def test_orphans_come_in_batches(self, backend: StorageBackend) -> None:
        """No more than the limit; rescued ones make room for the rest."""
        backend.enqueue(new_jobs(5))
        worker = new_worker(backend)
        claims = backend.claim(ClaimRequest(worker_id=worker, limit=5))
        backend.deregister(worker)
        found = []
        while batch := backend.orphans(dead_after=LONG, limit=2):
            assert len(batch) <= 2
            found += ids_of(batch)
            backend.apply([rescue(claim, max_crashes=3) for claim in batch])

        assert sorted(found) == sorted(ids_of(claims))
        assert backend.queue_stats()["queued"] == 5

    def test_asking_for_orphans_changes_nothing(self, backend: StorageBackend) -> None:
        """Finding is not rescuing: until the rescue is applied the owner may still end the job."""
        claim = claimed(backend)
        backend.deregister(claim.worker_id)
        backend.orphans(dead_after=LONG, limit=10)

        assert stored(backend, claim.job_id).status is JobStatus.PROCESSING
        assert backend.apply([succeed(claim, result_json=None, ttl=60)]) == [True]

    def test_a_rescued_job_goes_on_without_its_worker(self, backend: StorageBackend) -> None:
        """The whole way: lost, rescued, run by another; the first one's word comes too late."""
        late = claimed(backend)
        backend.deregister(late.worker_id)
        [orphan] = backend.orphans(dead_after=LONG, limit=10)
        assert backend.apply([rescue(orphan, max_crashes=3)]) == [True]
        claim = take(backend)
        assert (claim.attempt, claim.crashes) == (2, 1)

        outcomes = backend.apply(
            [
                succeed(late, result_json='"late"', ttl=60),
                succeed(claim, result_json='"ok"', ttl=60),
            ]
        )

        assert outcomes == [False, True]
        assert stored(backend, late.job_id).result == "ok"

    # -- forgetting

    def test_silent_workers_are_forgotten(self, backend: StorageBackend) -> None:
        """Those that died without saying goodbye do not pile up."""
        workers = [new_worker(backend) for _ in range(3)]
        forgotten = []

        def all_forgotten() -> bool:
            forgotten.append(backend.forget_workers(dead_after=SHORT))
            return backend.list_workers() == []

        wait_until(all_forgotten)
        assert sum(forgotten) == 3
        assert [backend.beat(worker) for worker in workers] == [False] * 3

    def test_living_workers_are_not_forgotten(self, backend: StorageBackend) -> None:
        """A beat within the time is enough."""
        worker = new_worker(backend)

        assert backend.forget_workers(dead_after=LONG) == 0
        assert backend.beat(worker) is True

    def test_workers_that_hold_jobs_are_not_forgotten(self, backend: StorageBackend) -> None:
        """Their trace is kept until their jobs were rescued."""
        claim = claimed(backend)
        wait_until(lambda: backend.orphans(dead_after=SHORT, limit=10) == [claim])
        assert backend.forget_workers(dead_after=SHORT) == 0
        backend.apply([rescue(claim, max_crashes=3)])

        assert backend.forget_workers(dead_after=SHORT) == 1
        assert backend.list_workers() == []
