# ruff: noqa: S101, PLR2004  (these are tests)
"""Enqueue: all or none, what is stored, unique keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from soniq.backend import StorageBackend
from soniq.jobs import Claim, DeadLetterReason, JobStatus, NewJob
from soniq.testing.conformance.support import (
    PAYLOADS,
    Conformance,
    claimed,
    enqueue_one,
    exactly,
    hours_from_now,
    new_id,
    new_job,
    new_jobs,
    seconds_between,
    stored,
    take,
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

ENDINGS: dict[str, Callable[[Claim], Change]] = {
    "done": lambda claim: succeed(claim, result_json=None, ttl=3600),
    "dead letter": lambda claim: bury(claim, reason=DeadLetterReason.TIMEOUT, error="late"),
}
RETURNS: dict[str, Callable[[Claim], Change]] = {
    "retry": lambda claim: fail(claim, error="broken", delay=0),
    "snooze": lambda claim: snooze(claim, seconds=0, reason=None),
    "interrupt": interrupt,
    "rescue": lambda claim: rescue(claim, max_crashes=3),
}


class EnqueueConformance(Conformance):
    """What :meth:`StorageBackend.enqueue` promises."""

    def test_ids_come_back_in_the_order_of_the_jobs(self, backend: StorageBackend) -> None:
        """The answer names each job at its place."""
        jobs = new_jobs(20)
        jobs.reverse()

        assert backend.enqueue(jobs) == [job.id for job in jobs]

    def test_jobs_may_come_from_a_generator(self, backend: StorageBackend) -> None:
        """Read once, stored in order."""
        jobs = new_jobs(3)

        assert backend.enqueue(job for job in jobs) == [job.id for job in jobs]

    def test_a_generator_that_raises_leaves_nothing_stored(self, backend: StorageBackend) -> None:
        """However far it came."""

        def broken() -> Iterator[NewJob]:
            yield from new_jobs(2500)
            raise KeyError("the producer failed")

        with pytest.raises(KeyError):
            backend.enqueue(broken())

        assert backend.queue_stats()["total"] == 0

    def test_enqueue_of_nothing_stores_nothing(self, backend: StorageBackend) -> None:
        """An empty batch is allowed."""
        assert backend.enqueue([]) == []
        assert backend.queue_stats()["total"] == 0

    def test_a_large_batch_is_stored_whole(self, backend: StorageBackend) -> None:
        """A batch may be larger than what one statement of a database can carry."""
        jobs = new_jobs(3000)

        assert backend.enqueue(jobs) == [job.id for job in jobs]
        assert backend.queue_stats()["queued"] == 3000

    def test_all_fields_are_stored(self, backend: StorageBackend) -> None:
        """A job reads back as it was enqueued, with nothing started."""
        new = new_job(
            job_name="shop.jobs.send",
            args_json='{"order_id": 7}',
            queue="emails",
            priority=3,
            max_attempts=9,
            args_hash="a" * 64,
            dedup_key="order-7",
            unique_key="k" * 64,
            producer_id="web-1:4711",
            context_json='{"language": "de"}',
        )
        backend.enqueue([new])
        job = stored(backend, new.id)

        assert (job.id, job.job_name, job.args) == (new.id, "shop.jobs.send", {"order_id": 7})
        assert (job.queue, job.priority, job.max_attempts) == ("emails", 3, 9)
        assert (job.args_hash, job.dedup_key) == ("a" * 64, "order-7")
        assert (job.producer_id, job.worker_id) == ("web-1:4711", None)
        assert (job.status, job.attempts, job.crashes) == (JobStatus.QUEUED, 0, 0)
        assert (job.last_error, job.result) == (None, None)
        assert (job.context, job.failures) == ({"language": "de"}, ())
        assert (job.started_at, job.finished_at, job.expires_at) == (None, None, None)

    @pytest.mark.parametrize("text", PAYLOADS.values(), ids=PAYLOADS.keys())
    def test_arguments_come_back_unchanged(self, backend: StorageBackend, text: str) -> None:
        """What was encoded is what the worker and the reader get, to the type."""
        claim = claimed(backend, args_json=text)
        expected = exactly(json.loads(text))

        assert exactly(claim.args) == expected
        assert exactly(stored(backend, claim.job_id).args) == expected

    def test_arguments_of_a_large_batch_come_back_unchanged(self, backend: StorageBackend) -> None:
        """A store may write many jobs in another way than one."""
        texts = [
            *PAYLOADS.values(),
            '{"text":"back\\\\slash, \\t tab, \\n line, \\\\. end, \\\\N null"}',
        ] * 10
        ids = backend.enqueue([new_job(args_json=text, producer_id="web\\1\t2") for text in texts])

        read = [stored(backend, job_id).args for job_id in ids]
        assert list(map(exactly, read)) == [exactly(json.loads(text)) for text in texts]
        assert stored(backend, ids[0]).producer_id == "web\\1\t2"

    @pytest.mark.parametrize("text", PAYLOADS.values(), ids=PAYLOADS.keys())
    def test_contexts_come_back_unchanged(self, backend: StorageBackend, text: str) -> None:
        """What surrounded the enqueue is what the worker, its rescuers and the reader get."""
        claim = claimed(backend, context_json=text)
        expected = exactly(json.loads(text))

        assert exactly(claim.context) == expected
        assert exactly(stored(backend, claim.job_id).context) == expected
        assert [exactly(one.context) for one in backend.held(claim.worker_id)] == [expected]

    def test_a_job_without_a_context_has_none(self, backend: StorageBackend) -> None:
        """None, not an empty one."""
        claim = claimed(backend)

        assert (claim.context, stored(backend, claim.job_id).context) == (None, None)

    @pytest.mark.parametrize("key", [None, "k"])
    def test_jobs_of_a_batch_have_each_its_own_context(
        self, backend: StorageBackend, key: str | None
    ) -> None:
        """However a store writes many jobs at once, and whichever of them are unique."""
        contexts: list[str | None] = [None, '{"a":"\\\\N \\t \\""}', '{"b": 2}']
        texts = [context for context in contexts for _ in range(30)]
        jobs = [
            new_job(context_json=text, unique_key=key and f"{key}{number}")
            for number, text in enumerate(texts)
        ]
        backend.enqueue(jobs)

        read = [stored(backend, job.id).context for job in jobs]
        assert read == [None if text is None else json.loads(text) for text in texts]

    def test_a_job_is_due_at_once_by_default(self, backend: StorageBackend) -> None:
        """Without a time the job is due at the moment it is stored."""
        job = stored(backend, enqueue_one(backend))

        assert seconds_between(job.created_at, job.scheduled_at) == pytest.approx(0, abs=0.01)
        assert backend.count_due() == 1

    def test_a_delay_counts_from_the_clock_of_the_store(self, backend: StorageBackend) -> None:
        """Durations go in, the store makes instants of them."""
        job = stored(backend, enqueue_one(backend, delay=90.5))

        assert seconds_between(job.created_at, job.scheduled_at) == pytest.approx(90.5, abs=0.01)

    def test_an_instant_is_kept_to_the_microsecond(self, backend: StorageBackend) -> None:
        """An aware time of any zone comes back as the same instant, in UTC."""
        when = datetime(2031, 5, 6, 7, 8, 9, 123457, tzinfo=timezone(timedelta(hours=5, minutes=45)))
        job = stored(backend, enqueue_one(backend, scheduled_at=when))

        assert job.scheduled_at == when
        assert job.scheduled_at.utcoffset() == timedelta(0)

    def test_an_instant_wins_over_a_delay(self, backend: StorageBackend) -> None:
        """With both given, the delay is ignored."""
        when = hours_from_now(5).replace(microsecond=0)
        job = stored(backend, enqueue_one(backend, scheduled_at=when, delay=1))

        assert job.scheduled_at == when

    def test_times_are_aware_and_true(self, backend: StorageBackend) -> None:
        """Instants come out aware, in UTC, and near the present."""
        job = stored(backend, enqueue_one(backend))

        assert job.created_at.utcoffset() == timedelta(0)
        assert seconds_between(job.created_at, datetime.now(tz=UTC)) == pytest.approx(0, abs=60)
        assert job.updated_at == job.created_at

    # -- all or none

    @pytest.mark.parametrize("key", [None, "k"])
    @pytest.mark.parametrize("place", [0, 2, 4])
    def test_a_batch_with_a_broken_job_writes_nothing(
        self, backend: StorageBackend, place: int, key: str | None
    ) -> None:
        """One job that cannot be stored keeps out all others, wherever it stands, unique or not."""
        jobs = new_jobs(4)
        jobs.insert(place, self.broken_job()._replace(unique_key=key))

        with pytest.raises(Exception):  # noqa: B017, PT011  # any error will do
            backend.enqueue(jobs)
        assert backend.queue_stats()["total"] == 0

    def test_a_broken_batch_holds_no_unique_key(self, backend: StorageBackend) -> None:
        """Nothing of a refused batch is left, its keys neither."""
        with pytest.raises(Exception):  # noqa: B017, PT011  # any error will do
            backend.enqueue([new_job(unique_key="k"), self.broken_job()])
        again = new_job(unique_key="k")

        assert backend.enqueue([again]) == [again.id]

    def test_an_enqueue_belongs_to_the_transaction_of_its_caller(self, backend: StorageBackend) -> None:
        """When the caller rolls back, the job never was, and its key is free."""
        if not backend.supports_transactions:
            pytest.skip("the store does not join transactions (supports_transactions is False)")
        with self.rolled_back(backend):
            enqueue_one(backend, unique_key="k")
        assert backend.queue_stats()["total"] == 0

        again = new_job(unique_key="k")

        assert backend.enqueue([again]) == [again.id]

    # -- unique keys

    def test_a_key_held_by_a_queued_job_gives_the_id_of_the_holder(self, backend: StorageBackend) -> None:
        """The twin is not stored."""
        holder = enqueue_one(backend, unique_key="k")

        assert enqueue_one(backend, unique_key="k") == holder
        assert backend.queue_stats()["total"] == 1

    def test_a_key_held_by_a_processing_job_gives_the_id_of_the_holder(self, backend: StorageBackend) -> None:
        """A running job is live: it still holds its key."""
        holder = claimed(backend, unique_key="k").job_id

        assert enqueue_one(backend, unique_key="k") == holder
        assert backend.queue_stats()["total"] == 1

    def test_twins_within_one_batch_are_stored_once(self, backend: StorageBackend) -> None:
        """The second twin's place in the answer holds the id of the first."""
        first, second = new_jobs(2, unique_key="k")

        assert backend.enqueue([first, second]) == [first.id, first.id]
        assert backend.queue_stats()["total"] == 1

    def test_a_batch_may_mix_held_free_and_no_keys(self, backend: StorageBackend) -> None:
        """Each place is answered for itself."""
        holder = enqueue_one(backend, unique_key="held")
        plain, held, free, twin = (
            new_job(),
            new_job(unique_key="held"),
            new_job(unique_key="free"),
            new_job(unique_key="free"),
        )

        answer = backend.enqueue([plain, held, free, twin])

        assert answer == [plain.id, holder, free.id, free.id]
        assert backend.queue_stats()["total"] == 3

    def test_jobs_without_a_key_exclude_nothing(self, backend: StorageBackend) -> None:
        """Only ``unique_key`` excludes; a hash or a caller's key is information."""
        backend.enqueue(new_jobs(3, args_hash="same", dedup_key="same"))

        assert backend.queue_stats()["queued"] == 3

    @pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
    def test_a_key_is_free_once_its_job_ended(
        self, backend: StorageBackend, ending: Callable[[Claim], Change]
    ) -> None:
        """Uniqueness holds among live jobs only."""
        claim = claimed(backend, unique_key="k")
        backend.apply([ending(claim)])
        again = new_job(unique_key="k")

        assert backend.enqueue([again]) == [again.id]

    def test_a_key_is_free_once_its_job_was_cancelled(self, backend: StorageBackend) -> None:
        """A cancelled job is not live."""
        backend.apply([cancel(enqueue_one(backend, unique_key="k"), ttl=None)])
        again = new_job(unique_key="k")

        assert backend.enqueue([again]) == [again.id]

    def test_a_key_is_free_once_its_job_was_deleted(self, backend: StorageBackend) -> None:
        """A deleted job holds nothing."""
        backend.delete_job(enqueue_one(backend, unique_key="k"))
        again = new_job(unique_key="k")

        assert backend.enqueue([again]) == [again.id]

    @pytest.mark.parametrize("back", RETURNS.values(), ids=RETURNS.keys())
    def test_a_key_is_kept_while_its_job_waits_to_run_again(
        self, backend: StorageBackend, back: Callable[[Claim], Change]
    ) -> None:
        """A job that is queued again never stopped being live."""
        claim = claimed(backend, unique_key="k")
        assert backend.apply([back(claim)]) == [True]

        assert enqueue_one(backend, unique_key="k") == claim.job_id
        assert backend.queue_stats()["total"] == 1

    def test_an_ended_job_does_not_take_its_key_from_the_next(self, backend: StorageBackend) -> None:
        """Deleting a finished job leaves the key with the live job that holds it now."""
        claim = claimed(backend, unique_key="k")
        backend.apply([succeed(claim, result_json=None, ttl=3600)])
        holder = enqueue_one(backend, unique_key="k")
        backend.delete_job(claim.job_id)

        assert enqueue_one(backend, unique_key="k") == holder

    def test_a_stored_job_is_what_a_worker_gets(self, backend: StorageBackend) -> None:
        """The claim carries the job as it was enqueued."""
        when = hours_from_now(-1)
        new = new_job(
            id=new_id(),
            job_name="n",
            queue="q",
            priority=7,
            max_attempts=2,
            args_json='{"x": [1]}',
            scheduled_at=when,
        )
        backend.enqueue([new])
        claim = take(backend)

        assert (claim.job_id, claim.job_name, claim.queue) == (new.id, "n", "q")
        assert (claim.priority, claim.max_attempts, claim.args) == (7, 2, {"x": [1]})
        assert (claim.attempt, claim.crashes) == (1, 0)
        assert claim.scheduled_at == when
        assert claim.created_at == stored(backend, new.id).created_at
