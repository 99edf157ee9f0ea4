"""From calls to rows: what a call means is made into jobs, stored, and told to whoever wants to hear."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from soniq.audience import Audience
from soniq.backend import Run, StorageBackend
from soniq.contexts import Contexts
from soniq.errors import InvalidArguments, InvalidEnqueue
from soniq.job_maker import JobMaker, Make, Target
from soniq.job_options import EnqueueOptions
from soniq.jobs import NewJob
from soniq.logged import log_enqueued
from soniq.records import DeadLetter
from soniq.schedule_records import ScheduleSpec
from soniq.steady import get_logger
from soniq.task import Task

logger = get_logger("soniq.enqueue")


class JobProducer:
    """Makes jobs of calls and stores them; nothing is written if anything about them is wrong.

    :param contexts: what surrounds a call is captured when it is made, on its own thread
    :param ready: called before each sync use: sets the store up, or refuses because the app is closed
    :param run: makes a blocking call for async code, once the store is ready
    :param audience: told of what was stored
    """

    def __init__(
        self,
        backend: StorageBackend,
        maker: JobMaker,
        contexts: Contexts,
        *,
        ready: Callable[[], None],
        run: Run,
        audience: Audience,
    ) -> None:
        self._backend = backend
        self._maker = maker
        self._capture = contexts.capture
        self._ready = ready
        self._run = run
        self._audience = audience

    # -- one job

    def enqueue(self, target: Target, args: Mapping[str, Any], options: EnqueueOptions) -> str:
        """Store one job on the calling thread, within its transaction; return its id."""
        return self._enqueue(target, args, options, self._capture())

    async def aenqueue(self, target: Target, args: Mapping[str, Any], options: EnqueueOptions) -> str:
        """:meth:`enqueue` for async code."""
        # Captured here: the thread that stores the job is not where the caller's language is set.
        return await self._run(self._enqueue, target, args, options, self._capture())

    def enqueue_stored(self, target: Target, args: Mapping[str, Any], options: EnqueueOptions) -> str:
        """:meth:`enqueue` with arguments in their stored form, as a shell or a file has them.

        What looks like a mark, such as ``{"$uuid": "..."}``, is one, if the job can read it.
        """
        self._ready()
        make = self._maker.prepare(target, options, self._capture(), keep_marks=True)
        return self._store([make(args)])[0]

    def _enqueue(
        self, target: Target, args: Mapping[str, Any], options: EnqueueOptions, context: str | None
    ) -> str:
        self._ready()
        return self._store([self._maker.prepare(target, options, context)(args)])[0]

    # -- many jobs

    def enqueue_many(
        self, target: Target, args_list: Iterable[Mapping[str, Any]], options: EnqueueOptions
    ) -> list[str]:
        """Store one job per mapping; return their ids in order. Nothing is written if one is wrong.

        The mappings may come from a generator: they are read as they are stored, within one transaction.
        What surrounds the call is captured once.
        """
        return self._enqueue_many(target, args_list, options, self._capture())

    async def aenqueue_many(
        self, target: Target, args_list: Iterable[Mapping[str, Any]], options: EnqueueOptions
    ) -> list[str]:
        """:meth:`enqueue_many` for async code."""
        return await self._run(self._enqueue_many, target, args_list, options, self._capture())

    def _enqueue_many(
        self,
        target: Target,
        args_list: Iterable[Mapping[str, Any]],
        options: EnqueueOptions,
        context: str | None,
    ) -> list[str]:
        self._ready()
        if isinstance(args_list, (str, Mapping)) or not isinstance(args_list, Iterable):
            raise InvalidEnqueue(f"args_list is {args_list!r}: give a list of dicts of keyword arguments")
        return self._store(_numbered(self._maker.prepare(target, options, context), args_list))

    # -- without storing

    def new_job(
        self, target: Target, args: Mapping[str, Any], options: EnqueueOptions, context: str | None = None
    ) -> NewJob:
        """The job that an enqueue would store; see :meth:`soniq.job_maker.JobMaker.prepare`."""
        return self._maker.prepare(target, options, context)(args)

    def task(self, name: str) -> Task[..., Any]:
        """The job of this name, as an enqueue would find it; see :meth:`soniq.job_maker.JobMaker.task`."""
        return self._maker.task(name)

    def replay_of(
        self,
        letter: DeadLetter,
        *,
        args: Mapping[str, Any] | None,
        queue: str | None,
        priority: int | None,
        max_attempts: int | None,
    ) -> NewJob:
        """The job that runs a dead letter again; see :meth:`soniq.job_maker.JobMaker.replay_of`."""
        self._ready()
        return self._maker.replay_of(
            letter, args=args, queue=queue, priority=priority, max_attempts=max_attempts
        )

    def of_schedule(self, schedule: ScheduleSpec, fire_time: datetime | None, due: datetime | None) -> NewJob:
        """The job that a schedule makes; see :meth:`soniq.job_maker.JobMaker.of_schedule`."""
        return self._maker.of_schedule(schedule, fire_time, due)

    # -- telling

    def announce(self, jobs: list[NewJob], ids: list[str]) -> None:
        """Tell the log and the audience what became of jobs that were stored just now.

        :param ids: what the store answered: of each its id, or that of the live job that excludes it
        """
        if logger.isEnabledFor(logging.DEBUG):
            for job, stored_id in zip(jobs, ids, strict=True):
                log_enqueued(job, stored_id)
        if self._audience.hears_enqueues:
            self._audience.enqueued(jobs, ids)

    def _store(self, jobs: list[NewJob] | Iterator[NewJob]) -> list[str]:
        """Enqueue and announce. While nobody listens, jobs of a generator are not kept."""
        if not (self._audience.hears_enqueues or logger.isEnabledFor(logging.DEBUG)):
            return self._backend.enqueue(jobs)
        noted: list[NewJob] = jobs if isinstance(jobs, list) else []
        ids = self._backend.enqueue(jobs if isinstance(jobs, list) else _noting(jobs, noted))
        self.announce(noted, ids)
        return ids


def _noting(jobs: Iterator[NewJob], noted: list[NewJob]) -> Iterator[NewJob]:
    """The jobs as they are, kept in ``noted`` on the way."""
    for job in jobs:
        noted.append(job)
        yield job


def _numbered(make: Make, args_list: Iterable[Mapping[str, Any]]) -> Iterator[NewJob]:
    """The jobs, as they are asked for; an error names the place of the arguments that caused it."""
    for index, args in enumerate(args_list):
        if not isinstance(args, Mapping):
            raise InvalidArguments(
                f"args_list[{index}] is {args!r}: give a dict of keyword arguments",
                path=f"args_list[{index}]",
            )
        try:
            job = make(args)
        except InvalidArguments as error:
            error.path = f"args_list[{index}].{error.path}"
            error.args = (f"args_list[{index}]: {error}",)
            raise
        yield job
