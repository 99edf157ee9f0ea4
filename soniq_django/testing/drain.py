"""Running jobs within a test: claimed, run and recorded as by a worker, on the test's thread and connection.

One coroutine does it for sync and async tests. From sync code it is awaited by ``async_to_sync``, whose calls
to the database, and the sync code of jobs, come back to the thread of the caller, and so to its transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from asgiref.sync import async_to_sync

from soniq import transitions
from soniq.app import Soniq
from soniq.default import get_default_app
from soniq.exits import contained_exits
from soniq.jobs import Claim, ClaimRequest, JobStatus
from soniq.settings import check_queues
from soniq_django.testing.attempts import Attempts
from soniq_django.testing.clock import clock
from soniq_django.testing.enqueued import Named, name_of
from soniq_django.testing.environment import in_event_loop
from soniq_django.testing.firing import Firing
from soniq_django.testing.summary import DrainSummary
from soniq_django.times import meant_by

T = TypeVar("T")

LIMIT = 10_000  # attempts of one drain
ORPHANS = 10_000


def drain_jobs(
    *,
    until: datetime | timedelta | None = None,
    queues: Iterable[str] | None = None,
    jobs: Iterable[Named] | None = None,
    once: bool = False,
    schedules: bool = False,
    raising: bool = False,
    limit: int = LIMIT,
    app: Soniq | None = None,
) -> DrainSummary:
    """Run every job that is due, what those jobs enqueue included, on the calling thread and connection.

    Jobs run one after the other in the order in which a worker claims them, through the store: claimed, run
    with hooks, middleware and retry policy, recorded. A retry without delay runs in the same drain, one with
    a delay waits for ``until``.

    :param until: go on as if time went by, up to this aware datetime or for so long: what is scheduled and
        what waits for a retry runs in the order of its times, and the queue's now is that time (Python's,
        too, if time-machine or freezegun is installed). Afterwards it is as late as before.
    :param queues: only jobs in these
    :param jobs: only these
    :param once: attempt each job once at most
    :param schedules: fire schedules, too, as their times come; those that code declares are stored first
    :param raising: raise what the first failed attempt raised, once its outcome is recorded
    :param limit: attempts after which an AssertionError says that jobs keep coming
    :param app: whose jobs; default: the default app's
    """
    if in_event_loop():
        raise RuntimeError("drain_jobs() cannot be called from async code; there, await adrain_jobs()")
    drain = Drain(
        app or get_default_app(),
        queues=queues,
        jobs=jobs,
        once=once,
        schedules=schedules,
        raising=raising,
        limit=limit,
    )
    return async_to_sync(drain.run)(until)


async def adrain_jobs(
    *,
    until: datetime | timedelta | None = None,
    queues: Iterable[str] | None = None,
    jobs: Iterable[Named] | None = None,
    once: bool = False,
    schedules: bool = False,
    raising: bool = False,
    limit: int = LIMIT,
    app: Soniq | None = None,
) -> DrainSummary:
    """:func:`drain_jobs` for async tests: sync code runs on the thread that they share for the ORM."""
    drain = Drain(
        app or get_default_app(),
        queues=queues,
        jobs=jobs,
        once=once,
        schedules=schedules,
        raising=raising,
        limit=limit,
    )
    return await drain.run(until)


class Drain:
    """One drain. Parameters as of :func:`drain_jobs`."""

    def __init__(
        self,
        app: Soniq,
        *,
        queues: Iterable[str] | None = None,
        jobs: Iterable[Named] | None = None,
        once: bool = False,
        schedules: bool = False,
        raising: bool = False,
        limit: int = LIMIT,
    ) -> None:
        self._app = app
        self._firing = Firing(app) if schedules else None
        self._backend = app.backend
        self._attempts = Attempts(app, raising=raising, limit=limit)
        self._queues = None if queues is None else check_queues(list(queues))
        self._jobs = None if jobs is None else tuple(name_of(job) for job in jobs)
        self._once = once
        self._limit = limit
        self._worker_id = str(uuid.uuid4())

    async def run(self, until: datetime | timedelta | None = None) -> DrainSummary:
        """Run what is due, then what becomes due ``until`` then."""
        await self._app.setup()
        with contained_exits():
            await self._work_off()
            if until is not None:
                await self._travel(until)
        return await self._summary()

    async def run_one(self, job_id: str, *, name: str, queue: str) -> DrainSummary:
        """Run one job, if it is due, and its retries that are due at once."""
        await self._app.setup()
        with contained_exits():
            while (claim := await self._claim_one(job_id, name, queue)) is not None:
                await self._attempts.make(claim)
        return await self._summary()

    # -- claiming

    async def _work_off(self) -> bool:
        """Do what is due; whether anything was."""
        fired = False if self._firing is None else await self._call(self._firing.fire)
        made = len(self._attempts.made)
        while claims := await self._claim(limit=1):
            await self._attempts.make(claims[0])
        return fired or len(self._attempts.made) > made

    @property
    def _names(self) -> Collection[str]:
        """What may be claimed; asked anew each time, as jobs may import the modules of others."""
        return tuple(self._attempts.registry) if self._jobs is None else self._jobs

    async def _claim(self, *, limit: int) -> list[Claim]:
        if not self._once:
            # A new name for each claim: a store may let a worker it knows go on where it was, and so pass by
            # what a job has just enqueued in front of that.
            self._worker_id = str(uuid.uuid4())
        request = ClaimRequest(
            worker_id=self._worker_id,
            limit=limit,
            queues=self._queues,
            names=self._names,
            skip_own=self._once,
        )
        return await self._call(self._backend.claim, request)

    async def _claim_one(self, job_id: str, name: str, queue: str) -> Claim | None:
        """A claim of this job alone; others that came with it are given back."""
        self._jobs, self._queues = (name,), (queue,)
        claims = await self._claim(limit=self._limit)
        others = [transitions.interrupt(claim) for claim in claims if claim.job_id != job_id]
        if others:
            await self._call(self._backend.apply, others)
        return next((claim for claim in claims if claim.job_id == job_id), None)

    # -- time

    async def _travel(self, until: datetime | timedelta) -> None:
        """Go from due time to due time."""
        with clock.travelling() as move:
            now = await self._stores_now(move)
            ends = now + until if isinstance(until, timedelta) else _instant(until)
            while (wait := await self._next_due()) is not None:
                if wait > 0:
                    now += timedelta(seconds=wait)
                    if now > ends:
                        return
                    move(now)
                    if (await self._next_due() or 0.0) > 0:
                        raise RuntimeError(
                            f"the clock of {self._backend.describe()} cannot be moved: use a Django "
                            "database, the mode 'memory', or install time-machine"
                        )
                if not await self._work_off():
                    return  # due, but held by somebody else

    async def _stores_now(self, move: Callable[[datetime], None]) -> datetime:
        """The instant that the store's clock shows, put in the place of that clock.

        It may be another machine's, and so ahead of ours or behind: what a wait differs by once the store
        goes by ours is the difference.
        """
        now = clock.now()
        wait = await self._next_due()
        if wait is not None and clock.instead_of_now() is None:
            move(now)
            now += timedelta(seconds=(await self._next_due() or wait) - wait)
        move(now)
        return now

    async def _next_due(self) -> float | None:
        """Seconds until the next job is due, or the next schedule fires."""
        wait = await self._call(self._backend.next_due, queues=self._queues, names=self._names)
        fires_in = None if self._firing is None else await self._call(self._firing.next_due)
        return min((one for one in (wait, fires_in) if one is not None), default=None)

    # -- the end

    async def _summary(self) -> DrainSummary:
        live = await self._call(self._backend.count_live)
        waiting = sum(
            jobs.count
            for jobs in live
            if jobs.status is JobStatus.QUEUED
            and (self._queues is None or jobs.queue in self._queues)
            and (self._jobs is None or jobs.job_name in self._jobs)
        )
        return DrainSummary(attempts=tuple(self._attempts.made), waiting=waiting)

    async def _call(self, call: Callable[..., T], *args: object, **kwargs: object) -> T:
        return await self._backend.run(partial(call, *args, **kwargs))


def _instant(until: datetime) -> datetime:
    aware = until if until.utcoffset() is not None else meant_by(until)
    if aware is None:
        raise TypeError(
            f"until is the naive {until.isoformat()}: give it a time zone, or a timedelta from now"
        )
    return aware
