# ruff: noqa: S101, PLR2004  (these are tests)
"""Reading, deleting, counting, purging, and the life of the store itself."""

from __future__ import annotations

import asyncio

import pytest

from soniq.backend import StorageBackend
from soniq.jobs import ClaimRequest, DeadLetterReason, JobStatus
from soniq.records import DeadLetterFilter
from soniq.testing.conformance.support import (
    Conformance,
    buried,
    claimed,
    enqueue_one,
    new_id,
    new_job,
    new_jobs,
    new_worker,
    take,
    wait_until,
    written,
)
from soniq.transitions import bury, cancel, fail, succeed

NONE = dict.fromkeys(
    ("queued", "processing", "done", "cancelled", "dead_letter", "total"),
    0,
)


def one_of_each(backend: StorageBackend) -> dict[JobStatus, str]:
    """A job in each status; their ids."""
    done = written(backend, succeed(claimed(backend), result_json=None, ttl=None)).id
    cancelled = written(backend, cancel(enqueue_one(backend), ttl=None)).id
    return {
        JobStatus.DONE: done,
        JobStatus.CANCELLED: cancelled,
        JobStatus.PROCESSING: claimed(backend).job_id,
        JobStatus.QUEUED: enqueue_one(backend),
    }


class ReadingConformance(Conformance):
    """What reading and housekeeping promise."""

    # -- one job

    def test_an_unknown_job_is_none(self, backend: StorageBackend) -> None:
        """A job that never was is not an error."""
        enqueue_one(backend)

        assert backend.get_job(new_id()) is None

    def test_a_dead_job_is_none(self, backend: StorageBackend) -> None:
        """A dead letter is not a job."""
        assert backend.get_job(buried(backend)) is None

    # -- lists

    def test_jobs_are_listed_newest_first(self, backend: StorageBackend) -> None:
        """By age, whatever their priority, time or state."""
        made = [
            enqueue_one(backend, priority=priority, delay=delay)
            for priority, delay in [(5, 0.0), (1, 3600.0), (9, 0.0), (0, 60.0)]
        ]
        take(backend)

        assert [job.id for job in backend.list_jobs()] == made[::-1]

    def test_a_listed_job_is_the_job(self, backend: StorageBackend) -> None:
        """Both ways of reading give the same record."""
        one_of_each(backend)
        jobs = backend.list_jobs()

        assert len(jobs) == 4
        assert [backend.get_job(job.id) for job in jobs] == jobs

    def test_jobs_are_listed_by_status(self, backend: StorageBackend) -> None:
        """Each status lists its own."""
        ids = one_of_each(backend)
        listed = {status: [job.id for job in backend.list_jobs(status=status)] for status in JobStatus}

        assert listed == {status: [job_id] for status, job_id in ids.items()}

    def test_jobs_are_listed_by_queue(self, backend: StorageBackend) -> None:
        """Alone and together with a status."""
        mine = enqueue_one(backend, queue="mine")
        enqueue_one(backend, queue="other")
        gone = written(backend, cancel(enqueue_one(backend, queue="mine"), ttl=None)).id

        assert [job.id for job in backend.list_jobs(queue="mine")] == [gone, mine]
        queued = backend.list_jobs(queue="mine", status=JobStatus.QUEUED)
        assert [job.id for job in queued] == [mine]
        assert backend.list_jobs(queue="none") == []

    def test_lists_can_be_paged(self, backend: StorageBackend) -> None:
        """Limit and offset walk through all jobs, each once."""
        made = backend.enqueue(new_jobs(7))
        pages = [backend.list_jobs(limit=3, offset=offset) for offset in (0, 3, 6, 9)]

        assert [len(page) for page in pages] == [3, 3, 1, 0]
        assert [job.id for page in pages for job in page] == made[::-1]

    # -- deleting

    @pytest.mark.parametrize("status", JobStatus)
    def test_a_job_can_be_deleted_in_any_state(self, backend: StorageBackend, status: JobStatus) -> None:
        """One job goes, the others stay; the second time there is nothing left to delete."""
        job_id = one_of_each(backend)[status]

        assert backend.delete_job(job_id) is True
        assert backend.get_job(job_id) is None
        assert backend.queue_stats()["total"] == 3
        assert backend.delete_job(job_id) is False

    def test_a_deleted_job_is_not_claimed(self, backend: StorageBackend) -> None:
        """Nothing is left in the order of claims."""
        backend.delete_job(enqueue_one(backend))

        assert backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=10)) == []
        assert backend.count_due() == 0

    def test_deleting_an_unknown_job_says_so(self, backend: StorageBackend) -> None:
        """Not an error, and not a success."""
        assert backend.delete_job(new_id()) is False

    def test_deleting_a_job_spares_dead_letters(self, backend: StorageBackend) -> None:
        """A dead letter is not a job, though it kept the id of one."""
        dead = buried(backend)

        assert backend.delete_job(dead) is False
        assert backend.queue_stats()["dead_letter"] == 1

    # -- counting

    def test_an_empty_store_counts_zeros(self, backend: StorageBackend) -> None:
        """Every count is there, even without a row."""
        assert backend.queue_stats() == NONE

    def test_counts_follow_the_jobs(self, backend: StorageBackend) -> None:
        """Each job and each dead letter is counted once."""
        buried(backend)
        buried(backend)
        one_of_each(backend)
        backend.enqueue(new_jobs(2, delay=60))

        assert backend.queue_stats() == {
            "queued": 3,
            "processing": 1,
            "done": 1,
            "cancelled": 1,
            "dead_letter": 2,
            "total": 8,
        }

    # -- purging

    def test_finished_jobs_are_purged_once_their_time_is_over(self, backend: StorageBackend) -> None:
        """Done and cancelled alike."""
        written(backend, succeed(claimed(backend), result_json=None, ttl=0.01))
        written(backend, cancel(enqueue_one(backend), ttl=0.01))
        purged = []

        def all_purged() -> bool:
            purged.append(backend.purge(limit=10))
            return backend.queue_stats()["total"] == 0

        wait_until(all_purged)
        assert sum(purged) == 2

    def test_jobs_within_their_time_are_kept(self, backend: StorageBackend) -> None:
        """Neither an end in the future nor no end at all lets a row go; live jobs never go."""
        written(backend, succeed(claimed(backend), result_json=None, ttl=3600))
        written(backend, succeed(claimed(backend), result_json=None, ttl=None))
        backend.apply([fail(claimed(backend), error="broken", delay=0)])
        take(backend)
        enqueue_one(backend)

        assert backend.purge(limit=10) == 0
        assert backend.queue_stats()["total"] == 4

    def test_purging_is_done_in_batches(self, backend: StorageBackend) -> None:
        """No call deletes more than its limit."""
        backend.enqueue(new_jobs(5))
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=5))
        backend.apply([succeed(claim, result_json=None, ttl=0) for claim in claims])
        purged = []

        def all_purged() -> bool:
            purged.append(backend.purge(limit=2))
            return backend.queue_stats()["total"] == 0

        wait_until(all_purged)
        assert max(purged) == 2
        assert sum(purged) == 5

    def test_dead_letters_are_purged_only_when_asked(self, backend: StorageBackend) -> None:
        """Without their own time to live they are kept; young ones are kept with it."""
        buried(backend)

        assert backend.purge(limit=10) == 0
        assert backend.purge(limit=10, dead_letter_ttl=3600) == 0
        assert backend.queue_stats()["dead_letter"] == 1

    def test_old_dead_letters_are_purged_beside_the_jobs(self, backend: StorageBackend) -> None:
        """The limit holds for each kind; the answer counts both."""
        backend.enqueue(new_jobs(6))
        claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=6))
        ends = [succeed(claim, result_json=None, ttl=0) for claim in claims[:3]]
        deaths = [bury(claim, reason=DeadLetterReason.TIMEOUT, error="late") for claim in claims[3:]]
        backend.apply([*ends, *deaths])
        purged = []

        def all_purged() -> bool:
            purged.append(backend.purge(limit=2, dead_letter_ttl=0.01))
            return backend.queue_stats()["total"] == 0

        wait_until(all_purged)
        assert max(purged) <= 4
        assert sum(purged) == 6

    # -- the store itself

    def test_setup_twice_does_no_harm(self, backend: StorageBackend) -> None:
        """Whoever starts first or second finds the same store."""
        job_id = enqueue_one(backend)
        backend.setup()

        assert backend.get_job(job_id) is not None

    def test_reset_removes_everything(self, backend: StorageBackend) -> None:
        """Jobs, their keys, dead letters and workers are gone; the store goes on."""
        buried(backend)
        one_of_each(backend)
        enqueue_one(backend, unique_key="k")
        backend.reset()

        assert backend.queue_stats() == NONE
        assert backend.list_workers() == []
        assert backend.list_dead_letters(DeadLetterFilter()) == []
        assert backend.next_due() is None
        again = new_job(unique_key="k")
        assert backend.enqueue([again]) == [again.id]

    def test_release_leaves_the_store_usable(self, backend: StorageBackend) -> None:
        """A thread that let go may come back; letting go twice does no harm."""
        job_id = enqueue_one(backend)
        backend.release()
        backend.release()

        assert backend.get_job(job_id) is not None

    def test_run_gives_the_answer_of_the_call(self, backend: StorageBackend) -> None:
        """Arguments go in, the result comes out, and the store can be used within."""
        new = new_job()

        async def use() -> tuple[list[str], int]:
            try:
                answer = await backend.run(backend.enqueue, [new])
                return answer, await backend.run(backend.count_due, queues=["default"])
            finally:
                await backend.run(backend.release)

        assert asyncio.run(use()) == ([new.id], 1)

    def test_run_raises_what_the_call_raised(self, backend: StorageBackend) -> None:
        """Errors pass through as they are."""

        def fail() -> None:
            raise LookupError("nothing there")

        with pytest.raises(LookupError, match="nothing there"):
            asyncio.run(backend.run(fail))

    def test_flags_are_booleans(self, backend: StorageBackend) -> None:
        """Each flag says yes or no."""
        flags = (
            backend.supports_processes,
            backend.supports_persistence,
            backend.supports_transactions,
            backend.blocking,
        )

        assert [type(flag) for flag in flags] == [bool] * 4
