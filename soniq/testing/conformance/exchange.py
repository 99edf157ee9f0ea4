# ruff: noqa: S101  (these are tests)
"""Exchange: outcomes in, claims out, in one visit."""

from __future__ import annotations

from soniq.backend import StorageBackend
from soniq.jobs import ClaimRequest, JobStatus
from soniq.testing.conformance.support import (
    Conformance,
    ids_of,
    new_jobs,
    new_worker,
    stored,
)
from soniq.transitions import fail, interrupt, succeed


class ExchangeConformance(Conformance):
    """Conformance of ``exchange``."""

    def test_an_exchange_records_and_claims(self, backend: StorageBackend) -> None:
        """It answers for each change, and gives the next jobs in order."""
        worker = new_worker(backend)
        ids = backend.enqueue(new_jobs(5))
        _, claims = backend.exchange([], ClaimRequest(worker_id=worker, limit=3))
        assert ids_of(claims) == ids[:3]

        answers, more = backend.exchange(
            [
                succeed(claims[0], result_json="1", ttl=60),
                fail(claims[1], error="broken", delay=3600),
                succeed(claims[2], result_json=None, ttl=60),
                succeed(claims[0], result_json="2", ttl=60),
            ],
            ClaimRequest(worker_id=worker, limit=10),
        )

        assert answers == [True, True, True, False]
        assert ids_of(more) == ids[3:]
        assert stored(backend, ids[0]).result == 1
        assert stored(backend, ids[1]).status is JobStatus.QUEUED

    def test_an_exchange_may_only_record(self, backend: StorageBackend) -> None:
        """With a limit of 0 nothing is claimed."""
        worker = new_worker(backend)
        backend.enqueue(new_jobs(2))
        _, [claim] = backend.exchange([], ClaimRequest(worker_id=worker, limit=1))

        answers, claims = backend.exchange(
            [succeed(claim, result_json=None, ttl=60)], ClaimRequest(worker_id=worker, limit=0)
        )

        assert (answers, claims) == ([True], [])

    def test_what_an_exchange_gives_back_it_may_claim(self, backend: StorageBackend) -> None:
        """Changes come first."""
        worker = new_worker(backend)
        [job_id] = backend.enqueue(new_jobs(1))
        _, [claim] = backend.exchange([], ClaimRequest(worker_id=worker, limit=1))

        answers, claims = backend.exchange([interrupt(claim)], ClaimRequest(worker_id=worker, limit=1))

        assert answers == [True]
        assert ids_of(claims) == [job_id]
        assert claims[0].attempt == 1

    def test_an_exchange_takes_the_filters_of_claim(self, backend: StorageBackend) -> None:
        """Queues, names, and the worker's own."""
        worker = new_worker(backend)
        backend.enqueue(new_jobs(1, queue="a", job_name="x"))
        [wanted] = backend.enqueue(new_jobs(1, queue="b", job_name="x"))
        backend.enqueue(new_jobs(1, queue="b", job_name="y"))

        _, claims = backend.exchange([], ClaimRequest(worker_id=worker, limit=9, queues=["b"], names=["x"]))
        assert ids_of(claims) == [wanted]

        _, again = backend.exchange(
            [interrupt(claims[0])],
            ClaimRequest(worker_id=worker, limit=9, queues=["b"], names=["x"], skip_own=True),
        )
        assert again == []

    def test_a_higher_priority_is_not_overlooked(self, backend: StorageBackend) -> None:
        """However a store finds its place again, what sorts before it is found soon."""
        worker = new_worker(backend)
        backend.enqueue(new_jobs(60, priority=100))
        for _ in range(5):
            backend.exchange([], ClaimRequest(worker_id=worker, limit=2))
        [urgent] = backend.enqueue(new_jobs(1, priority=1))

        seen: list[str] = []
        while urgent not in seen:
            _, claims = backend.exchange([], ClaimRequest(worker_id=worker, limit=1))
            assert claims, "the queue was drained past the urgent job"
            seen += ids_of(claims)
