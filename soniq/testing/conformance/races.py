# ruff: noqa: S101, PLR2004  (these are tests)
"""Races: many threads, and many processes, on one store."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier as ProcessBarrier
from typing import TypeVar

import pytest

from soniq.backend import StorageBackend
from soniq.jobs import Claim, ClaimRequest, DeadLetterReason, JobStatus
from soniq.records import DeadLetterFilter
from soniq.testing.conformance.support import (
    Conformance,
    claimed,
    enqueue_one,
    flat,
    ids_of,
    new_id,
    new_job,
    new_jobs,
    new_worker,
    stored,
)
from soniq.transitions import (
    Change,
    bury,
    cancel,
    fail,
    interrupt,
    rescue,
    snooze,
    succeed,
)

T = TypeVar("T")

THREADS = 8
PROCESSES = 4
PATIENCE = 60.0  # seconds until a thread or process that does not come is given up


def at_once(backend: StorageBackend, work: Callable[[int], T], count: int = THREADS) -> list[T]:
    """Let ``count`` threads start ``work(number)`` at the same moment; return their answers."""
    barrier = threading.Barrier(count)

    def run(number: int) -> T:
        try:
            barrier.wait(PATIENCE)
            return work(number)
        finally:
            backend.release()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count), timeout=PATIENCE))


def claim_until_empty(backend: StorageBackend, worker_id: str) -> list[str]:
    """Claim in small batches until nothing is left; the ids, in order."""
    taken: list[str] = []
    while claims := backend.claim(ClaimRequest(worker_id=worker_id, limit=7)):
        taken += ids_of(claims)
    return taken


class RaceConformance(Conformance):
    """What must hold when everybody calls at once."""

    # -- threads

    def test_threads_claim_each_job_once(self, backend: StorageBackend) -> None:
        """No job is given to two callers, and none is left behind."""
        ids = backend.enqueue(new_jobs(500))
        workers = [new_worker(backend) for _ in range(THREADS)]

        taken = at_once(backend, lambda number: claim_until_empty(backend, workers[number]))

        assert Counter(flat(taken)) == Counter(ids)
        assert backend.queue_stats()["processing"] == 500
        owners = {job_id: workers[number] for number, ids in enumerate(taken) for job_id in ids}
        jobs = backend.list_jobs(limit=500)
        assert {job.id: job.worker_id for job in jobs} == owners
        assert {job.attempts for job in jobs} == {1}

    def test_threads_that_claim_one_job_at_a_time_share_one_job(self, backend: StorageBackend) -> None:
        """Of all that reach for the same job one gets it, round after round."""
        workers = [new_worker(backend) for _ in range(THREADS)]
        for _ in range(10):
            job_id = enqueue_one(backend)
            claims = at_once(
                backend, lambda number: backend.claim(ClaimRequest(worker_id=workers[number], limit=1))
            )

            assert [ids_of(got) for got in claims if got] == [[job_id]]

    def test_one_of_many_outcomes_of_a_claim_holds(self, backend: StorageBackend) -> None:
        """An outcome that is reported by several threads is written once."""
        claim = claimed(backend)
        changes: list[Change] = [
            succeed(claim, result_json="1", ttl=60),
            fail(claim, error="broken", delay=60),
            bury(claim, reason=DeadLetterReason.TIMEOUT, error="late"),
            rescue(claim, max_crashes=3),
            snooze(claim, seconds=60, reason=None),
            interrupt(claim),
            succeed(claim, result_json="2", ttl=60),
            bury(claim, reason=DeadLetterReason.WORKER_LOST, error="lost"),
        ]

        answers = at_once(backend, lambda number: backend.apply([changes[number]]))

        assert sorted(flat(answers)) == [False] * (THREADS - 1) + [True]
        winner = changes[answers.index([True])]
        job = backend.get_job(claim.job_id)
        assert (None if job is None else job.status) == winner.status
        assert backend.queue_stats()["total"] == 1

    def test_overlapping_lists_are_applied_once_each(self, backend: StorageBackend) -> None:
        """Lists in opposite orders do not lock each other out, and each claim ends once."""
        backend.enqueue(new_jobs(100))
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=100))

        def end_all(number: int) -> dict[str, bool]:
            mine = claims if number % 2 else claims[::-1]
            changes = [succeed(claim, result_json=str(number), ttl=60) for claim in mine]
            return dict(zip(ids_of(mine), backend.apply(changes), strict=True))

        answers = at_once(backend, end_all)

        wins = Counter(job_id for answer in answers for job_id, won in answer.items() if won)
        assert wins == Counter(ids_of(claims))
        for claim in claims:
            result = stored(backend, claim.job_id).result
            assert answers[result][claim.job_id] is True

    def test_a_job_is_either_cancelled_or_claimed(self, backend: StorageBackend) -> None:
        """A cancel that said True means that nobody runs the job."""
        ids = backend.enqueue(new_jobs(100))
        worker = new_worker(backend)

        def race(number: int) -> list[str]:
            if number % 2:
                return claim_until_empty(backend, worker)
            return [job_id for job_id in ids if backend.apply([cancel(job_id, ttl=60)]) == [True]]

        answers = at_once(backend, race)

        assert Counter(flat(answers)) == Counter(ids)
        stats = backend.queue_stats()
        assert stats["processing"] == sum(len(answer) for answer in answers[1::2])
        assert stats["cancelled"] == sum(len(answer) for answer in answers[::2])

    def test_a_unique_key_is_stored_once_for_all_threads(self, backend: StorageBackend) -> None:
        """All that enqueue the same get the same id."""
        for key in ("first", "second", "third"):

            def enqueue(_: int, key: str = key) -> str:
                return enqueue_one(backend, unique_key=key)

            answers = at_once(backend, enqueue)

            assert len(set(answers)) == 1
            assert backend.get_job(answers[0]) is not None
        assert backend.queue_stats()["total"] == 3

    def test_batches_with_the_same_keys_do_not_lock_each_other_out(self, backend: StorageBackend) -> None:
        """Keys that meet in opposite orders are stored once, and no caller sees an error."""
        keys = [f"key-{number}" for number in range(40)]

        def enqueue_all(number: int) -> dict[str, str]:
            mine = keys if number % 2 else keys[::-1]
            ids = backend.enqueue([new_job(unique_key=key) for key in mine])
            return dict(zip(mine, ids, strict=True))

        answers = at_once(backend, enqueue_all)

        assert all(answer == answers[0] for answer in answers)
        assert backend.queue_stats()["total"] == len(keys)

    def test_a_key_that_is_given_up_meanwhile_is_held_by_one(self, backend: StorageBackend) -> None:
        """Whether the holder ends before or after an enqueue, one live job holds the key."""
        for _ in range(5):
            claim = claimed(backend, unique_key="k")

            def race(number: int, claim: Claim = claim) -> str:
                if number == 0:
                    backend.apply([succeed(claim, result_json=None, ttl=60)])
                    return claim.job_id
                return enqueue_one(backend, unique_key="k")

            answers = set(at_once(backend, race))

            live = [job.id for job in backend.list_jobs(status=JobStatus.QUEUED)]
            assert len(live) <= 1
            assert answers == {claim.job_id, *live}
            backend.reset()

    def test_replays_by_many_threads_are_all_counted(self, backend: StorageBackend) -> None:
        """No count is lost between reading and writing it."""
        claim = claimed(backend)
        backend.apply([bury(claim, reason=DeadLetterReason.TIMEOUT, error="late")])

        at_once(backend, lambda _: backend.replay_dead_letter(claim.job_id, new_job()))

        [letter] = backend.list_dead_letters(DeadLetterFilter())
        assert letter.resurrection_count == THREADS
        assert backend.queue_stats()["queued"] == THREADS

    def test_tags_of_many_threads_are_all_kept(self, backend: StorageBackend) -> None:
        """No tag is lost between reading and writing them."""
        claim = claimed(backend)
        backend.apply([bury(claim, reason=DeadLetterReason.TIMEOUT, error="late")])

        at_once(backend, lambda number: backend.tag_dead_letter(claim.job_id, [f"tag-{number}"]))

        [letter] = backend.list_dead_letters(DeadLetterFilter())
        assert sorted(letter.tags) == [f"tag-{number}" for number in range(THREADS)]

    # -- processes

    def test_processes_claim_each_job_once(self, backend: StorageBackend) -> None:
        """What holds for threads holds between processes that share the store."""
        self._need_processes(backend)
        ids = backend.enqueue(new_jobs(400))
        workers = [new_worker(backend) for _ in range(PROCESSES)]

        taken = self._in_processes(backend, _claim_in_process, workers)

        assert Counter(flat(taken)) == Counter(ids)
        assert backend.queue_stats()["processing"] == 400

    def test_a_unique_key_is_stored_once_for_all_processes(self, backend: StorageBackend) -> None:
        """All that enqueue the same get the same id."""
        self._need_processes(backend)
        ids = [new_id() for _ in range(PROCESSES)]

        answers = self._in_processes(backend, _enqueue_in_process, ids)

        assert len(set(answers)) == 1
        assert [job.id for job in backend.list_jobs()] == [answers[0]]

    def test_jobs_outlive_the_process_that_made_them(self, backend: StorageBackend) -> None:
        """A job that another process enqueued is there after it ended."""
        self._need_processes(backend)
        if not backend.supports_persistence:
            pytest.skip("jobs go with the process (supports_persistence is False)")
        job_id = new_id()
        self._in_processes(backend, _enqueue_in_process, [job_id])

        assert stored(backend, job_id).status is JobStatus.QUEUED

    def _need_processes(self, backend: StorageBackend) -> None:
        if not backend.supports_processes:
            pytest.skip("processes cannot share the store (supports_processes is False)")

    def _in_processes(
        self,
        backend: StorageBackend,
        work: Callable[[Callable[[], StorageBackend], str], T],
        arguments: list[str],
    ) -> list[T]:
        """Let one process for each argument start ``work`` at the same moment."""
        spawn = multiprocessing.get_context("spawn")
        count = len(arguments)
        barrier = spawn.Barrier(count)
        open_backend = self.open_backend(backend)
        with ProcessPoolExecutor(
            count, mp_context=spawn, initializer=_meet_at, initargs=(barrier,)
        ) as processes:
            answers = processes.map(work, [open_backend] * count, arguments, timeout=PATIENCE, chunksize=1)
            return list(answers)


_start: ProcessBarrier | None = None


def _meet_at(barrier: ProcessBarrier) -> None:
    global _start  # noqa: PLW0603  # how a process is handed what only inheritance can give
    _start = barrier


def _open_together(open_backend: Callable[[], StorageBackend]) -> StorageBackend:
    backend = open_backend()
    assert _start is not None
    _start.wait(PATIENCE)
    return backend


def _claim_in_process(open_backend: Callable[[], StorageBackend], worker_id: str) -> list[str]:
    backend = _open_together(open_backend)
    try:
        return claim_until_empty(backend, worker_id)
    finally:
        backend.close()


def _enqueue_in_process(open_backend: Callable[[], StorageBackend], job_id: str) -> str:
    backend = _open_together(open_backend)
    try:
        return enqueue_one(backend, id=job_id, unique_key="k")
    finally:
        backend.close()
