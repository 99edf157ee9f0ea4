# ruff: noqa: S101  (these are tests)
"""Job transactions: what the outcome of an atomic job is written in."""

from __future__ import annotations

import pytest

from soniq.backend import JobTransaction, StorageBackend
from soniq.errors import ConfigurationError
from soniq.jobs import Claim, JobStatus
from soniq.testing.conformance.support import Conformance, claimed, enqueue_one, new_job, stored
from soniq.transitions import interrupt, snooze, succeed


class AtomicConformance(Conformance):
    """What :meth:`StorageBackend.job_transaction` promises."""

    def test_a_commit_keeps_the_outcome_and_what_was_enqueued(self, backend: StorageBackend) -> None:
        """All of it is there afterwards."""
        claim = claimed_first(backend)
        job = begun(backend)
        enqueued = enqueue_one(backend)
        answers = backend.apply([succeed(claim, result_json="1", ttl=60)])
        job.check()
        job.commit()

        assert answers == [True]
        assert stored(backend, claim.job_id).result == 1
        assert stored(backend, enqueued).status is JobStatus.QUEUED

    def test_a_rollback_undoes_the_outcome_and_what_was_enqueued(self, backend: StorageBackend) -> None:
        """The job is as it was, and its claim holds as before; the keys of the others are free."""
        claim = claimed_first(backend)
        before = stored(backend, claim.job_id)
        job = begun(backend)
        enqueue_one(backend, unique_key="k")
        assert backend.apply([succeed(claim, result_json="1", ttl=60)]) == [True]
        job.roll_back()

        assert stored(backend, claim.job_id) == before
        assert backend.queue_stats()["total"] == 1
        again = new_job(unique_key="k")
        assert backend.enqueue([again]) == [again.id]
        assert backend.apply([snooze(claim, seconds=60, reason=None)]) == [True]

    def test_a_lost_claim_is_seen_from_within(self, backend: StorageBackend) -> None:
        """The guard is that of every apply."""
        claim = claimed_first(backend)
        assert backend.apply([interrupt(claim)]) == [True]
        job = begun(backend)
        answers = backend.apply([succeed(claim, result_json="1", ttl=60)])
        job.roll_back()

        assert answers == [False]
        assert stored(backend, claim.job_id).status is JobStatus.QUEUED

    def test_a_rollback_after_the_end_changes_nothing(self, backend: StorageBackend) -> None:
        """Nor does a second one; the next transaction is one of its own."""
        claim = claimed_first(backend)
        job = begun(backend)
        backend.apply([succeed(claim, result_json=None, ttl=60)])
        job.commit()
        job.roll_back()
        following = begun(backend)
        enqueue_one(backend)
        following.roll_back()
        following.roll_back()

        assert stored(backend, claim.job_id).status is JobStatus.DONE
        assert backend.queue_stats()["total"] == 1


def claimed_first(backend: StorageBackend) -> Claim:
    """A claim, if the store has transactions at all."""
    require(backend)
    return claimed(backend)


def begun(backend: StorageBackend) -> JobTransaction:
    """A transaction that is open; a store without any says so, and the test is skipped."""
    require(backend)
    job = backend.job_transaction()
    job.begin()
    return job


def require(backend: StorageBackend) -> None:
    """Skip where there are no transactions, which asking for one is to say, too."""
    if not backend.supports_transactions:
        with pytest.raises(ConfigurationError, match="no transactions"):
            backend.job_transaction()
        pytest.skip("the store has no transactions (supports_transactions is False)")
