"""From a call to a job: everything is checked and encoded, and nothing is written."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from soniq.arguments import decode, encode, fingerprint
from soniq.codec import encode_arguments, read
from soniq.contexts import as_text
from soniq.enqueue_checks import Aware, dedup_key, due, flag, job_name, unique_key
from soniq.errors import InvalidArguments, InvalidEnqueue
from soniq.ids import uuid7_text
from soniq.job_options import EnqueueOptions, JobOptions
from soniq.jobs import JSON, NewJob
from soniq.records import DeadLetter
from soniq.registry import Registry
from soniq.schedule_records import ScheduleSpec, context_of
from soniq.settings import Settings, check_priority, check_queue
from soniq.steady import get_logger
from soniq.task import JobBehind, Task, TaskRef

logger = get_logger("soniq.enqueue")

Target: TypeAlias = Task[..., Any] | JobBehind | TaskRef | str | Callable[..., Any]
Make: TypeAlias = Callable[[Mapping[str, Any]], NewJob]

MAX_CONTEXT_BYTES = 65_536


class JobMaker:
    """Makes jobs of calls. One that it has made can be stored and, as far as is known here, be run.

    :param aware: gives the instant that a naive time means, or None where it means none
    :param refusal: why atomic jobs cannot be run here; None: they can
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        *,
        new_id: Callable[[], str] = uuid7_text,
        aware: Aware = lambda _naive: None,
        refusal: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._new_id = new_id
        self._aware = aware
        self._refusal = refusal
        self._hostname = socket.gethostname()
        self._unknown = JobOptions()

    def prepare(
        self, target: Target, options: EnqueueOptions, context: str | None, *, keep_marks: bool = False
    ) -> Make:
        """What makes a job of arguments; all that jobs of one call have in common is settled here.

        :param context: what surrounds the call, as the JSON text of an object
        :param keep_marks: the arguments were read from the store, and edited perhaps
        :raises UnknownTask: the name is not registered here (with enqueue_validation "strict")
        :raises InvalidEnqueue: queue, priority or time are impossible
        :raises InvalidArguments: by what is returned: the arguments do not fit the job or cannot be stored
        """
        target = behind(target)
        name, task = self._resolve(target)
        job = task.options if task is not None else self._unknown
        if isinstance(target, Task):
            options = options.over(target.defaults)
        if job.atomic and (why := self._refusal()) is not None:
            raise InvalidEnqueue(f"{name} is atomic=True: {why}")
        queue, priority = self._place(options, target if isinstance(target, TaskRef) else None, job)
        max_attempts = _first(job.max_retries, self._settings.max_retries) + 1
        delay, scheduled_at = due(options.scheduled_at, self._aware)
        unique = _first(flag(options.unique), job.unique)
        key = dedup_key(options.dedup_key)
        encoded = partial(_encoded, task, self._settings.max_args_bytes, keep_marks=keep_marks)
        new_id = self._new_id
        context = _with(options.context, context)
        # Not kept: servers fork after the app was made.
        producer_id = f"{self._hostname}:{os.getpid()}"

        def make(args: Mapping[str, Any]) -> NewJob:
            stored, text = encoded(args)
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
                key,
                unique_key(name, key, hashed),
                producer_id,
                context,
            )

        return make

    def of_schedule(self, schedule: ScheduleSpec, fire_time: datetime | None, due: datetime | None) -> NewJob:
        """The job that a schedule makes: with the arguments as they are stored, which the worker checks.

        What the schedule leaves open, the job's options say as they are now. Nothing surrounds it but the
        schedule.

        :param fire_time: the one it stands for; None: none
        :param due: not before; None: now
        :raises UnknownTask: the job is not registered here (with enqueue_validation "strict")
        """
        name, task = self._resolve(schedule.job_name)
        job = task.options if task is not None else self._unknown
        hashed = fingerprint(decode(schedule.args_json)) if job.unique else None
        return NewJob(
            id=self._new_id(),
            job_name=name,
            args_json=schedule.args_json,
            queue=_first(schedule.queue, job.queue),
            priority=_first(schedule.priority, job.priority, self._settings.priority),
            max_attempts=_first(job.max_retries, self._settings.max_retries) + 1,
            scheduled_at=due,
            args_hash=hashed,
            unique_key=unique_key(name, None, hashed),
            producer_id=f"{self._hostname}:{os.getpid()}",
            context_json=encode(
                context_of(schedule.name, fire_time), limit=MAX_CONTEXT_BYTES, path="context"
            ),
        )

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
        make = self.prepare(letter.job_name, options, as_text(letter.context), keep_marks=True)
        job = make(letter.args if args is None else args)
        return job._replace(max_attempts=max_attempts or letter.max_attempts)

    def _place(self, options: EnqueueOptions, ref: TaskRef | None, job: JobOptions) -> tuple[str, int]:
        """Queue and priority: what the call says goes before what the job says."""
        queue = _first(options.queue, ref.queue if ref else None, job.queue)
        priority = _first(
            options.priority, ref.priority if ref else None, job.priority, self._settings.priority
        )
        return check_queue(queue, InvalidEnqueue), check_priority(priority, InvalidEnqueue)

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
        return (job_name(name) if task is None else name), task

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


def _encoded(
    task: Task[..., Any] | None, limit: int, args: Mapping[str, Any], *, keep_marks: bool
) -> tuple[dict[str, JSON], str]:
    """The arguments as they are stored, and their text; checked where the task is known here."""
    if task is None:
        return encode_arguments(dict(args), limit=limit, keep_marks=keep_marks)
    bound = task.signature.bind((), args)
    if keep_marks:
        bound = _readable(task, bound, limit)
    if task.options.validate is not None:
        bound, keep_marks = _validated(task, bound), False
    return encode_arguments(bound, limit=limit, types=task.types, keep_marks=keep_marks)


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


def _first(*values: Any) -> Any:
    """The first value that is not None."""
    return next(itertools.dropwhile(lambda value: value is None, values), None)


def behind(target: Target) -> Target:
    """The job of what knows its job; anything else as it is."""
    return target.__soniq_job__() if isinstance(target, JobBehind) else target
