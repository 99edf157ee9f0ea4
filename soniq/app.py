"""``Soniq``: the object that holds an application's queue together. It delegates, and decides nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack, overload
from uuid import UUID

from soniq import transitions
from soniq.atomic import refusal
from soniq.audience import Audience, Observer
from soniq.backend import StorageBackend
from soniq.backends.select import open_backend
from soniq.codec import REGISTERED, Missing, load, read, references_in
from soniq.contexts import C, Capture
from soniq.dead_letter import DeadLetterService
from soniq.declarations import PeriodicKeywords
from soniq.default import shared
from soniq.environment import Environment
from soniq.errors import AppClosed, ConfigurationError, InvalidEnqueue
from soniq.execution import Execution, Outcome
from soniq.hooks import H, M, MetricsSink
from soniq.ids import canonical
from soniq.job_maker import JobMaker, Target
from soniq.job_options import EnqueueOptions, JobKeywords, When
from soniq.jobs import JobStatus
from soniq.producer import JobProducer
from soniq.recycling import Recycling
from soniq.redaction import redactor
from soniq.registry import JobDecorator, PeriodicDecorator, Registry
from soniq.retry import RetryPolicy
from soniq.scheduler import SchedulerService
from soniq.settings import Settings, check_page, check_queue, check_queues
from soniq.task import Task
from soniq.timetable import Timetable
from soniq.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")


class Soniq:
    """An application's job queue: its jobs, its store, its settings.

    :param database_url: a path ending in .db, .sqlite or .sqlite3 selects SQLite
    :param backend: ``"memory"``, ``"sqlite"``, or a store of your own
    :param retry_policy: decides about every failure instead of the jobs' own options
    :param metrics_sink: told of every attempt
    :param environment: what surrounds the code of jobs; frameworks set it
    :param observer: hears of jobs where it may take time for it; frameworks set it
    :param settings: see :class:`soniq.settings.Settings`
    :raises ConfigurationError: a setting is unknown or contradicts another
    """

    def __init__(
        self,
        database_url: str | os.PathLike[str] | None = None,
        backend: StorageBackend | str | None = None,
        retry_policy: RetryPolicy | None = None,
        metrics_sink: MetricsSink | None = None,
        *,
        environment: Environment | None = None,
        observer: Observer | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings.from_mapping(settings)
        self.backend = open_backend(backend, database_url)
        self.registry = Registry(producer=lambda: self.producer, parent=shared)
        self._environment = environment or Environment()
        self.audience = Audience(
            _with_methods("metrics_sink", metrics_sink, "record_job_start", "record_job_end"), observer
        )
        maker = JobMaker(
            self.registry,
            self.settings,
            aware=self._environment.aware,
            refusal=lambda: refusal(self.backend, self._environment),
        )
        self.producer = JobProducer(
            self.backend,
            maker,
            self.registry.contexts,
            ready=self._make_ready,
            run=self._run,
            audience=self.audience,
        )
        self.dead_letter = DeadLetterService(
            self.backend,
            self.producer,
            ready=self._make_ready,
            run=self._run,
            redactor=redactor(self.settings.redact),
        )
        self.scheduler = SchedulerService(
            self.backend, self.producer, self.settings, ready=self._make_ready, run=self._run
        )
        self._retry_policy = _with_methods("retry_policy", retry_policy, "delay_for")
        self._lock = threading.RLock()  # a handler of a signal that enqueues may interrupt its holder
        self._ready = False
        self._closed = False

    # -- declaring

    @overload
    def job(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def job(self, fn: None = None, /, **options: Unpack[JobKeywords]) -> JobDecorator: ...
    def job(self, fn: Callable[..., Any] | None = None, /, **options: Unpack[JobKeywords]) -> Any:
        """Make a function a job of this app. See :class:`soniq.job_options.JobKeywords` for the options."""
        made = self.registry.job(**options)
        return made if fn is None else made(fn)

    def periodic(self, **options: Unpack[PeriodicKeywords]) -> PeriodicDecorator:
        """Make a function a job of this app with a schedule; see :meth:`soniq.registry.Registry.periodic`."""
        return self.registry.periodic(**options)

    def before_job(self, hook: H) -> H:
        """Call ``hook(job_name, job_id, attempt)`` before each attempt."""
        return self.registry.hooks.before_job(hook)

    def after_job(self, hook: H) -> H:
        """Call ``hook(job_name, job_id, duration_ms)`` after each attempt that returned."""
        return self.registry.hooks.after_job(hook)

    def on_error(self, hook: H) -> H:
        """Call ``hook(job_name, job_id, error, attempt)`` after each attempt that raised."""
        return self.registry.hooks.on_error(hook)

    def middleware(self, wrapper: M) -> M:
        """Wrap each attempt in ``await wrapper(ctx, call_next)``; the first registered is outermost."""
        return self.registry.hooks.middleware(wrapper)

    def context(self, name: str, *, capture: Capture) -> Callable[[C], C]:
        """Carry what ``capture()`` says along with each job of this app; see :func:`soniq.context`."""
        return self.registry.contexts.context(name, capture=capture)

    # -- enqueueing

    async def enqueue(
        self,
        target: Target,
        *,
        args: Mapping[str, Any] | None = None,
        priority: int | None = None,
        queue: str | None = None,
        scheduled_at: When | None = None,
        unique: bool | None = None,
        dedup_key: str | None = None,
        **kwargs: Any,
    ) -> str:
        """Store a job; return its id, or that of the live job that excludes it.

        :param target: a job, the name of one, or a TaskRef
        :param args: the job's arguments, for names that this method uses itself; joined with ``kwargs``
        :param scheduled_at: not before: an aware datetime, or from now a timedelta or seconds
        :param unique: not while a job with the same name and arguments is live
        :param dedup_key: not while a job with the same name and this key is live
        :raises UnknownTask: no such job
        :raises InvalidArguments: they do not fit the job or cannot be stored
        :raises InvalidEnqueue: another option is wrong
        """
        options = EnqueueOptions(
            queue=queue,
            priority=priority,
            scheduled_at=scheduled_at,
            unique=unique,
            dedup_key=dedup_key,
        )
        return await self.producer.aenqueue(target, _joined(args, kwargs), options)

    async def enqueue_many(
        self,
        target: Target,
        args_list: Iterable[Mapping[str, Any]],
        *,
        queue: str | None = None,
        priority: int | None = None,
        scheduled_at: When | None = None,
    ) -> list[str]:
        """Store one job per mapping of arguments, all or none; return their ids in order."""
        options = EnqueueOptions(queue=queue, priority=priority, scheduled_at=scheduled_at)
        return await self.producer.aenqueue_many(target, args_list, options)

    async def schedule(
        self,
        target: Target,
        run_at: datetime | timedelta | float,
        *,
        args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> str:
        """:meth:`enqueue` for later: ``run_at`` as ``scheduled_at``."""
        if run_at is None:
            raise InvalidEnqueue("run_at is None: give an aware datetime, a timedelta, or seconds from now")
        options = EnqueueOptions(scheduled_at=run_at)
        return await self.producer.aenqueue(target, _joined(args, kwargs), options)

    # -- working

    async def run_worker(
        self,
        concurrency: int | None = None,
        run_once: bool = False,
        queues: Iterable[str] | None = None,
        scheduler: bool | None = None,
    ) -> bool:
        """Run jobs until stopped by SIGTERM or SIGINT, or until nothing is due.

        :param concurrency: jobs at a time; default: the setting, and one at a time with ``run_once``
        :param run_once: work through everything that is due, what those jobs enqueue included, and
            return; each job is attempted at most once
        :param queues: only these; default: the setting
        :param scheduler: whether it fires schedules; default: the setting, and not with ``run_once``
        :returns: whether any job was attempted
        """
        await self._run(self.backend.check_can_work)
        worker = self.worker(concurrency=concurrency, run_once=run_once, queues=queues, scheduler=scheduler)
        return await worker.run(handle_signals=not run_once)

    def worker(
        self,
        *,
        concurrency: int | None = None,
        run_once: bool = False,
        queues: Iterable[str] | None = None,
        scheduler: bool | None = None,
        observe: Callable[[Outcome], None] | None = None,
        recycling: Recycling | None = None,
    ) -> Worker:
        """A worker, not yet running; for callers that want to stop or watch it. See :meth:`run_worker`.

        :param observe: called with each recorded outcome
        :param recycling: when the worker leaves by itself
        """
        self._make_ready()
        settings = self.settings
        prefetch = concurrency is not None or not run_once
        if concurrency is None:
            concurrency = 1 if run_once else settings.concurrency
        elif isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigurationError(f"concurrency is {concurrency!r}: give 1 or more")
        if scheduler is None:
            scheduler = settings.scheduler and not run_once
        return Worker(
            backend=self.backend,
            registry=self.registry,
            execution=self.execution(),
            settings=settings,
            concurrency=concurrency,
            audience=self.audience,
            environment=self._environment,
            queues=settings.queues if queues is None else check_queues(_listed(queues)),
            run_once=run_once,
            timetable=self.timetable() if scheduler else None,
            prefetch=prefetch,
            observe=observe,
            recycling=recycling,
        )

    def timetable(self) -> Timetable:
        """What declares and fires schedules, without a worker around it; for test kits."""
        return Timetable(self.backend, self.registry, self.producer, self.settings)

    def execution(
        self, *, registry: Registry | None = None, environment: Environment | None = None
    ) -> Execution:
        """What runs single attempts, without a worker around it; for test kits.

        :param registry: default: the app's own
        :param environment: what surrounds the code of jobs; default: the app's own
        """
        return Execution(
            backend=self.backend,
            registry=registry or self.registry,
            settings=self.settings,
            retry_policy=self._retry_policy,
            audience=self.audience,
            environment=environment or self._environment,
        )

    # -- looking and steering

    async def get_job(self, job_id: str | UUID) -> dict[str, Any] | None:
        """The job as a dict, or None when it is gone, dead, or never was.

        Its ``args`` and ``result`` are what is stored: JSON, with marks for values that are more than that.
        """
        job = await self._run(self.backend.get_job, canonical(job_id))
        return None if job is None else job.to_dict()

    async def get_result(self, job_id: str | UUID, *, result_model: Any = None) -> Any:
        """What the handler returned; None before that, and after the result's time to live.

        :param result_model: a pydantic model to validate it into
        :raises InvalidArguments: the result cannot be read any more: its class, or the job itself, is gone
        :raises ReferenceGone: it refers to something that is gone, and the job's ``missing`` is not "none"
        """
        job = await self._run(self.backend.get_job, canonical(job_id))
        if job is None or job.status is not JobStatus.DONE or job.result is None:
            return None
        task = self.registry.find(job.job_name)
        types = REGISTERED if task is None else task.types
        references = references_in(job.result)
        loaded = await self._environment.load(partial(load, references, types)) if references else {}
        missing: Missing = "fail" if task is None else task.options.missing
        value = read(job.result, types, loaded=loaded, missing=missing, path="result")
        return value if result_model is None else result_model.model_validate(value)

    async def list_jobs(
        self,
        queue: str | None = None,
        status: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[dict[str, Any]]:
        """Jobs as dicts, newest first."""
        if queue is not None:
            check_queue(queue, InvalidEnqueue)
        check_page(limit, offset)
        jobs = await self._run(
            self.backend.list_jobs,
            queue=queue,
            status=None if status is None else _status(status),
            limit=limit,
            offset=offset,
        )
        return [job.to_dict() for job in jobs]

    async def cancel_job(self, job_id: str | UUID) -> bool:
        """Withdraw a job that no worker has claimed. False: it runs, ended, or is not there."""
        return (await self._run(self.cancel_now, [job_id]))[0]

    def cancel_now(self, job_ids: Iterable[str | UUID]) -> list[bool]:
        """:meth:`cancel_job` for each, on the calling thread and within its transaction."""
        self._make_ready()
        ttl = self.settings.result_ttl
        return self.backend.apply([transitions.cancel(canonical(job_id), ttl=ttl) for job_id in job_ids])

    async def delete_job(self, job_id: str | UUID) -> bool:
        """Remove a job in any state. False: it is not there."""
        return await self._run(self.backend.delete_job, canonical(job_id))

    async def get_queue_stats(self) -> dict[str, int]:
        """How many jobs there are: total, queued, processing, done, dead_letter, cancelled."""
        return await self._run(self.backend.queue_stats)

    # -- living

    async def setup(self) -> None:
        """Make the store ready; other methods do so on their own."""
        await self._run(lambda: None)

    ensure_initialized = setup

    async def close(self) -> None:
        """Let go of the store. Closing twice does no harm; any other use afterwards is an error."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.backend.close()

    async def __aenter__(self) -> Self:
        await self.setup()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _reset(self) -> None:
        """Remove all jobs, dead letters, workers and schedules; what was registered stays."""
        await self._run(self.backend.reset)

    async def _run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Make a blocking call as the store wants it made, once the store is ready."""
        if self._closed:
            raise AppClosed

        def readied() -> R:
            self._make_ready()
            return call(*args, **kwargs)

        return await self.backend.run(readied)

    def _make_ready(self) -> None:
        if self._closed:
            raise AppClosed
        if not self._ready:
            with self._lock:
                if not self._ready:
                    self.backend.setup()
                    self._ready = True


def _joined(args: Mapping[str, Any] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    if args is None:
        return kwargs
    if not isinstance(args, Mapping):
        raise InvalidEnqueue(f"args is {args!r}: give a dict of keyword arguments")
    twice = sorted(set(args) & set(kwargs))
    if twice:
        raise InvalidEnqueue(f"{', '.join(twice)}: given both in args and as keyword")
    return {**args, **kwargs}


def _with_methods(option: str, value: R, *methods: str) -> R:
    """``value``, if it is None or has the methods that ``option`` needs."""
    missing = [f"{name}()" for name in methods if not callable(getattr(value, name, None))]
    if value is not None and (missing or isinstance(value, type)):
        needed = " and ".join(missing) or "to be an object, not a class"
        raise ConfigurationError(f"{option} is {value!r}: it needs {needed}")
    return value


def _listed(queues: object) -> object:
    """A generator as a list; what is no list of names is left for the check to refuse."""
    return list(queues) if isinstance(queues, Iterator) else queues


def _status(value: str) -> JobStatus:
    try:
        return JobStatus(value)
    except ValueError:
        known = ", ".join(status.value for status in JobStatus)
        raise ConfigurationError(f"status is {value!r}; known: {known}") from None
