"""What a block enqueues, and what a store holds."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from django.db import connections

from soniq.app import Soniq
from soniq.backend import StorageBackend
from soniq.default import get_default_app
from soniq.jobs import NewJob
from soniq.records import DeadLetterFilter
from soniq_django.testing.asserting import WITHIN, EnqueuedJobs
from soniq_django.testing.clock import clock
from soniq_django.testing.enqueued import EnqueuedJob, Named
from soniq_django.testing.environment import in_event_loop

ALL = 100_000  # rows of a test's store


class CapturedJobs(EnqueuedJobs):
    """What a block has enqueued so far; after the block, without what was rolled back."""

    def __init__(self) -> None:
        super().__init__()
        self.excluded: list[EnqueuedJob] = []  # not stored: a live job had the same unique key
        self.rolled_back: list[EnqueuedJob] = []  # known once the block has ended

    def add(self, jobs: list[EnqueuedJob]) -> None:
        """These were stored."""
        self._jobs += jobs

    def drop(self, jobs: list[EnqueuedJob]) -> None:
        """These were rolled back."""
        self.rolled_back += jobs
        gone = {job.id for job in jobs}
        self._jobs = [job for job in self._jobs if job.id not in gone]


@dataclass(frozen=True, slots=True)
class _Call:
    """The jobs that one call stored, all or none."""

    jobs: list[EnqueuedJob]
    in_transaction: bool  # in one that was begun within the block, so that it may have been rolled back


class Capture:
    """The context manager that :func:`capture_jobs` gives, for ``with`` and ``async with``."""

    def __init__(self, app: Soniq | None = None) -> None:
        self._app = app
        self.jobs = CapturedJobs()
        self._calls: list[_Call] = []

    def __enter__(self) -> CapturedJobs:
        self._captured = self._app or get_default_app()
        self._thread, self._depths = threading.get_ident(), _depths()
        self._captured.audience.watchers.append(self._watch)
        return self.jobs

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if not any(call.in_transaction for call in self._calls):
            return
        if error is None and in_event_loop():
            raise RuntimeError(
                "jobs were enqueued in a transaction; to know which of them stayed, the database has to be "
                "asked, which 'with' cannot do in async code: use 'async with capture_jobs()'"
            )
        try:
            self._drop_rolled_back()
        except Exception:
            if error is None:
                raise

    def stop(self) -> None:
        """Watch no longer; what was rolled back stays among the jobs."""
        self._captured.audience.watchers.remove(self._watch)

    async def __aenter__(self) -> CapturedJobs:
        jobs = self.__enter__()
        # Which transactions are open is a matter of the thread that the ORM is used on.
        self._thread, self._depths = await self._captured.backend.run(
            lambda: (threading.get_ident(), _depths())
        )
        return jobs

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if any(call.in_transaction for call in self._calls):
            await self._captured.backend.run(self._drop_rolled_back)

    def _watch(self, jobs: Sequence[NewJob], ids: Sequence[str]) -> None:
        now = clock.now()
        stored: list[EnqueuedJob] = []
        for job, stored_id in zip(jobs, ids, strict=True):
            enqueued = EnqueuedJob.of_new(job, now, self._captured.registry)
            (stored if job.id == stored_id else self.jobs.excluded).append(enqueued)
        if stored:
            self.jobs.add(stored)
            known = self._depths if threading.get_ident() == self._thread else {}
            deeper = any(depth > known.get(alias, 0) for alias, depth in _depths().items())
            self._calls.append(_Call(stored, deeper and self._captured.backend.supports_transactions))

    def _drop_rolled_back(self) -> None:
        for call in self._calls:
            if call.in_transaction and not _is_there(self._captured.backend, call.jobs[0].id):
                self.jobs.drop(call.jobs)


def capture_jobs(*, app: Soniq | None = None) -> Capture:
    """Collect what a block enqueues, and let it be enqueued.

    ::

        with capture_jobs() as jobs:
            place_order()
        jobs.assert_enqueued(send_receipt, order_id=1)

    ``jobs`` is a sequence of :class:`EnqueuedJob`, with the assertions as methods. What a transaction within
    the block rolled back never was: once the block has ended it is in ``jobs.rolled_back`` and no longer in
    ``jobs``. What was not stored because a live job had its unique key is in ``jobs.excluded``.

    :param app: whose jobs; default: the default app's
    """
    return Capture(app)


def enqueued_jobs(*, app: Soniq | None = None) -> EnqueuedJobs:
    """All jobs in the store, oldest first, whatever has become of them; dead letters included."""
    chosen = app or get_default_app()
    if chosen.backend.blocking and in_event_loop():
        raise RuntimeError(
            "the database cannot be asked from async code: await aenqueued_jobs() and call assert_enqueued() "
            "or assert_none() of what it gives, or use capture_jobs()"
        )
    return _all_of(chosen)


def _all_of(app: Soniq) -> EnqueuedJobs:
    backend, registry = app.backend, app.registry
    found = [EnqueuedJob.of_stored(job, registry) for job in backend.list_jobs(limit=ALL)]
    letters = backend.list_dead_letters(DeadLetterFilter(limit=ALL))
    found += [EnqueuedJob.of_dead_letter(letter, registry) for letter in letters]
    return EnqueuedJobs(sorted(found, key=lambda job: job.id))


async def aenqueued_jobs(*, app: Soniq | None = None) -> EnqueuedJobs:
    """:func:`enqueued_jobs` for async code."""
    chosen = app or get_default_app()
    return await chosen.backend.run(_all_of, chosen)


def assert_enqueued(
    job: Named,
    /,
    *,
    count: int | None = None,
    queue: str | None = None,
    priority: int | None = None,
    at: datetime | timedelta | float | None = None,
    within: timedelta | float = WITHIN,
    unique: bool | None = None,
    dedup_key: str | None = None,
    args: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> list[EnqueuedJob]:
    """:meth:`EnqueuedJobs.assert_enqueued` of all jobs in the store, run or not."""
    __tracebackhide__ = True  # pytest shows the line of the test
    return enqueued_jobs().assert_enqueued(
        job,
        count=count,
        queue=queue,
        priority=priority,
        at=at,
        within=within,
        unique=unique,
        dedup_key=dedup_key,
        args=args,
        **kwargs,
    )


def assert_no_jobs() -> None:
    """An AssertionError that lists what the store holds, run or not, if it holds any job."""
    __tracebackhide__ = True  # as above
    enqueued_jobs().assert_none()


def _depths() -> dict[str, int]:
    """How many atomic blocks are open on each of the calling thread's connections."""
    return {
        connection.alias: connection.in_atomic_block + len(connection.savepoint_ids)
        for connection in connections.all(initialized_only=True)
    }


def _is_there(backend: StorageBackend, job_id: str) -> bool:
    if backend.get_job(job_id) is not None:
        return True
    return bool(backend.list_dead_letters(DeadLetterFilter(ids=[job_id])))
