"""From a call to rows: everything is checked and encoded before anything is written."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from soniq.arguments import decode, encode, fingerprint
from soniq.audience import Audience
from soniq.backend import Run, StorageBackend
from soniq.codec import encode_arguments, read
from soniq.contexts import as_text
from soniq.errors import InvalidArguments, InvalidEnqueue
from soniq.ids import uuid7_text
from soniq.jobs import JSON, NewJob
from soniq.logged import log_enqueued
from soniq.records import DeadLetter
from soniq.registry import Registry
from soniq.settings import Settings, check_priority, check_queue, is_seconds
from soniq.task import MAX_NAME, EnqueueOptions, JobOptions, Task, TaskRef

logger = logging.getLogger("soniq.enqueue")

Aware: TypeAlias = Callable[[datetime], datetime | None]
Target: TypeAlias = Task[..., Any] | TaskRef | str | Callable[..., Any]

# Told of each enqueue on the thread that made it: the jobs, and the ids that the caller gets. What it raises
# reaches the caller.
Watcher: TypeAlias = Callable[[list[NewJob], list[str]], None]

MAX_DEDUP_KEY = 255
MAX_CONTEXT_BYTES = 65_536
LAST_YEAR = 9998  # of scheduled_at; sums beyond the year 9999 overflow


class JobProducer:
    """Makes jobs of calls and stores them.

    :param ready: called before each sync use: sets the store up, or refuses because the app is closed
    :param run: makes a blocking call for async code, once the store is ready
    :param aware: gives the instant that a naive time means, or None where it means none
    :param refusal: why atomic jobs cannot be run here; None: they can
    :param audience: told of what was stored
    """

    def __init__(
        self,
        backend: StorageBackend,
        registry: Registry,
        settings: Settings,
        *,
        ready: Callable[[], None],
        run: Run,
        new_id: Callable[[], str] = uuid7_text,
        aware: Aware = lambda _naive: None,
        refusal: Callable[[], str | None] = lambda: None,
        audience: Audience | None = None,
    ) -> None:
        self._audience = audience or Audience()
        self._backend = backend
        self._registry = registry
        self._settings = settings
        self._ready = ready
        self._run = run
        self._new_id = new_id
        self._aware = aware
        self._refusal = refusal
        self._capture = registry.contexts.capture
        self._hostname = socket.gethostname()
        self._unknown = JobOptions()
        self.watchers: list[Watcher] = []  # of test kits

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
        made = self._maker(target, options, self._capture(), keep_marks=True)
        return self._store([made(args)])[0]

    def _enqueue(
        self, target: Target, args: Mapping[str, Any], options: EnqueueOptions, context: str | None
    ) -> str:
        self._ready()
        return self._store([self.new_job(target, args, options, context)])[0]

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
        return self._store(_numbered(self._maker(target, options, context), args_list))

    def _store(self, jobs: list[NewJob] | Iterator[NewJob]) -> list[str]:
        """Enqueue, and tell whoever wants to hear of it."""
        watchers = tuple(self.watchers)
        debugs = logger.isEnabledFor(logging.DEBUG)
        if not (watchers or debugs or self._audience.hears_enqueues):
            return self._backend.enqueue(jobs)
        noted: list[NewJob] = jobs if isinstance(jobs, list) else []
        ids = self._backend.enqueue(jobs if isinstance(jobs, list) else self._audience.noting(jobs, noted))
        if self._audience.hears_enqueues:
            self._audience.enqueued(noted, ids)
        if debugs:
            for job, stored_id in zip(noted, ids, strict=True):
                log_enqueued(job, stored_id)
        for watcher in watchers:
            watcher(noted, ids)
        return ids

    def new_job(
        self, target: Target, args: Mapping[str, Any], options: EnqueueOptions, context: str | None = None
    ) -> NewJob:
        """The job that ``target`` called with ``args`` stands for.

        :param context: what surrounds it, as the JSON text of an object
        :raises UnknownTask: the name is not registered here (with enqueue_validation "strict")
        :raises InvalidEnqueue: queue, priority or time are impossible
        :raises InvalidArguments: the arguments do not fit the job or cannot be stored
        """
        return self._maker(target, options, context)(args)

    def _maker(
        self, target: Target, options: EnqueueOptions, context: str | None, *, keep_marks: bool = False
    ) -> Callable[[Mapping[str, Any]], NewJob]:
        """What makes a job of arguments; all that jobs of one call have in common is settled here.

        :param keep_marks: the arguments were read from the store, and edited perhaps
        """
        name, task = self._resolve(target)
        job = task.options if task is not None else self._unknown
        if isinstance(target, Task):
            options = options.over(target.defaults)
        if job.atomic and (why := self._refusal()) is not None:
            raise InvalidEnqueue(f"{name} is atomic=True: {why}")
        ref = target if isinstance(target, TaskRef) else None
        queue = check_queue(_first(options.queue, ref.queue if ref else None, job.queue), InvalidEnqueue)
        priority = check_priority(
            _first(options.priority, ref.priority if ref else None, job.priority, self._settings.priority),
            InvalidEnqueue,
        )
        max_attempts = _first(job.max_retries, self._settings.max_retries) + 1
        delay, scheduled_at = _when(options.scheduled_at, self._aware)
        unique = _first(_flag(options.unique), job.unique)
        dedup_key = _dedup_key(options.dedup_key)
        limit, new_id = self._settings.max_args_bytes, self._new_id
        context = _with(options.context, context)
        # Not kept: servers fork after the app was made.
        producer_id = f"{self._hostname}:{os.getpid()}"

        def made(args: Mapping[str, Any]) -> NewJob:
            if task is None:
                stored, text = encode_arguments(dict(args), limit=limit, keep_marks=keep_marks)
            else:
                bound = task.signature.bind((), args)
                kept = keep_marks
                if keep_marks:
                    bound = _readable(task, bound, limit)
                if task.options.validate is not None:
                    bound, kept = _validated(task, bound), False
                stored, text = encode_arguments(bound, limit=limit, types=task.types, keep_marks=kept)
            hashed = fingerprint(stored) if unique else None
            return NewJob(
                options.job_id or new_id(),
                name,
                text,
                queue,
                priority,
                max_attempts,
                scheduled_at,
                delay,
                hashed,
                dedup_key,
                _unique_key(name, dedup_key, hashed),
                producer_id,
                context,
            )

        return made

    def task(self, name: str) -> Task[..., Any]:
        """The job of this name, as an enqueue would find it.

        :raises UnknownTask: there is none; suggests the nearest name
        """
        return self._resolve(name)[1] or self._registry.get(name)

    def replay_of(
        self,
        letter: DeadLetter,
        *,
        args: Mapping[str, Any] | None,
        queue: str | None,
        priority: int | None,
        max_attempts: int | None,
    ) -> NewJob:
        """The job that runs a dead letter again, in its context; what is None stays as it was.

        :raises UnknownTask: no code of that name is here any more
        """
        options = EnqueueOptions(
            queue=letter.queue if queue is None else queue,
            priority=letter.priority if priority is None else priority,
        )
        self._ready()
        made = self._maker(letter.job_name, options, as_text(letter.context), keep_marks=True)
        job = made(letter.args if args is None else args)
        return job._replace(max_attempts=max_attempts or letter.max_attempts)

    def _resolve(self, target: Target) -> tuple[str, Task[..., Any] | None]:
        """The name and, where it is known here, the task."""
        if isinstance(target, Task):
            known = self._registry.find(target.name)
            if known is not None and known.fn is target.fn:
                return target.name, target
            return target.name, self._registry.get(target.name)
        name = target.name if isinstance(target, TaskRef) else target
        if not isinstance(name, str):
            raise InvalidEnqueue(f"{target!r} is not a job; {self._hint(name)}")
        task = self._registry.find(name)
        if task is None and isinstance(name, str) and self._registry.learn([name]):
            task = self._registry.find(name)
        if task is None and self._settings.enqueue_validation == "strict":
            return name, self._registry.get(name)
        if task is None and self._settings.enqueue_validation == "warn":
            logger.warning("enqueued %r, which is not registered here", name)
        return (_name(name) if task is None else name), task

    def _hint(self, target: object) -> str:
        for task in map(self._registry.find, self._registry):
            if task is not None and task.fn is target:
                return f"it is the function of {task.name!r}; pass that job, or its name"
        return "decorate it with @job, or pass the name of one"


def _with(more: Mapping[str, JSON] | None, context: str | None) -> str | None:
    """A captured context that says more; JSON text like it."""
    if more is None:
        return context
    captured = {} if context is None else decode(context)
    return encode({**captured, **more}, limit=MAX_CONTEXT_BYTES, path="context")


def _numbered(
    made: Callable[[Mapping[str, Any]], NewJob], args_list: Iterable[Mapping[str, Any]]
) -> Iterator[NewJob]:
    """The jobs, as they are asked for; an error names the place of the arguments that caused it."""
    for index, args in enumerate(args_list):
        if not isinstance(args, Mapping):
            raise InvalidArguments(
                f"args_list[{index}] is {args!r}: give a dict of keyword arguments",
                path=f"args_list[{index}]",
            )
        try:
            job = made(args)
        except InvalidArguments as error:
            error.path = f"args_list[{index}].{error.path}"
            error.args = (f"args_list[{index}]: {error}",)
            raise
        yield job


def _readable(task: Task[..., Any], args: dict[str, Any], limit: int) -> dict[str, Any]:
    """Arguments in their stored form, values among them perhaps, if the job will be able to read them.

    In their stored form again; as values if the job has a model to check them.
    """
    stored, _ = encode_arguments(args, limit=limit, types=task.types, keep_marks=True)
    values: dict[str, Any] = read(stored, task.types, of_call=True)
    return stored if task.options.validate is None else values


def _validated(task: Task[..., Any], args: dict[str, Any]) -> dict[str, Any]:
    """The arguments as the job's model stores them."""
    model: Any = task.options.validate
    try:
        stored = dict(model.model_validate(args).model_dump(mode="json"))
    except ValueError as error:  # pydantic's ValidationError is one
        text = " ".join(str(error).split())
        raise InvalidArguments(f"{task.name} refuses these arguments: {text}") from None
    return task.signature.bind((), stored)


def _when(value: object, aware: Aware) -> tuple[float, datetime | None]:
    """``scheduled_at`` as (seconds from the database's now, or an instant)."""
    if value is None:
        return 0.0, None
    if isinstance(value, datetime):
        instant = value if value.utcoffset() is not None else aware(value)
        if instant is None:
            raise InvalidEnqueue(
                f"scheduled_at is the naive {value.isoformat()}: give it a time zone "
                "(in Django: timezone.make_aware(...)), or pass seconds or a timedelta from now"
            )
        return 0.0, _instant(instant)
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidEnqueue(
            f"scheduled_at is {value!r}: give an aware datetime, a timedelta, or seconds from now"
        )
    if not is_seconds(value):
        raise InvalidEnqueue(f"scheduled_at is {value!r} seconds from now: give 0 or more")
    return float(value), None


def _instant(value: datetime) -> datetime:
    """``value`` in UTC, if every store can hold it and do sums with it."""
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        utc = None
    if utc is None or utc.year > LAST_YEAR:
        raise InvalidEnqueue(
            f"scheduled_at is {value.isoformat()}: give a time from the year 1 to {LAST_YEAR} in UTC"
        )
    return utc


def _name(value: object) -> str:
    """A job's name that is not known here, if it can be one somewhere else."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise InvalidEnqueue(f"{value!r} is no job name: give a text of 1 to {MAX_NAME} characters")
    encode(value, limit=8 * MAX_NAME, path="the job's name")
    return value


def _flag(value: bool | None) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise InvalidEnqueue(f"unique is {value!r}: give True or False")
    return value


def _dedup_key(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_DEDUP_KEY:
        raise InvalidEnqueue(f"dedup_key is {value!r}: give a text of 1 to {MAX_DEDUP_KEY} characters")
    encode(value, limit=8 * MAX_DEDUP_KEY, path="dedup_key")
    return value


def _unique_key(name: str, dedup_key: str | None, hashed: str | None) -> str | None:
    """What at most one live job may hold: one per (name, key), or per (name, arguments)."""
    if dedup_key is None and hashed is None:
        return None
    kind, value = ("args", hashed) if dedup_key is None else ("key", dedup_key)
    return hashlib.sha256(f"{name}\x00{kind}\x00{value}".encode()).hexdigest()


def _first(*values: Any) -> Any:
    """The first value that is not None."""
    return next(itertools.dropwhile(lambda value: value is None, values), None)
