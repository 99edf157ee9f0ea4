"""An enqueue as a test looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias, runtime_checkable

from soniq.arguments import decode
from soniq.codec import REGISTERED, Types, decode_values, encode_values, references_in
from soniq.default import get_default_app
from soniq.errors import InvalidArguments
from soniq.jobs import JSON, NewJob
from soniq.records import DeadLetter, Job
from soniq.registry import Registry
from soniq.task import Task, TaskRef


@runtime_checkable
class DjangoTask(Protocol):
    """A task of Django's Tasks, which need not be installed here."""

    @property
    def module_path(self) -> str:
        """The name of its job."""
        ...


Named: TypeAlias = Task[..., Any] | TaskRef | DjangoTask | str

_AT_ONCE = timedelta(seconds=0.001)
_SHOWN = 200  # characters of one argument
_UNLIMITED = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedJob:
    """A job that was enqueued."""

    id: str
    name: str
    args: Mapping[str, Any]  # as the job gets them; what refers to objects of the database as it is stored
    stored_args: Mapping[str, JSON]  # the same, as it is stored
    queue: str
    priority: int
    enqueued_at: datetime
    scheduled_at: datetime  # not before; enqueued_at if at once
    max_attempts: int
    unique: bool = False  # one live job per arguments
    dedup_key: str | None = None

    @property
    def delay(self) -> timedelta:
        """How long after the enqueue it is due; zero: at once."""
        return max(self.scheduled_at - self.enqueued_at, timedelta())

    @classmethod
    def of_new(cls, job: NewJob, now: datetime, registry: Registry) -> EnqueuedJob:
        """A job on its way to the store."""
        args, stored = _arguments(decode(job.args_json), registry.find(job.job_name))
        return cls(
            id=job.id,
            name=job.job_name,
            args=args,
            stored_args=stored,
            queue=job.queue,
            priority=job.priority,
            enqueued_at=now,
            scheduled_at=job.scheduled_at or now + timedelta(seconds=job.delay),
            max_attempts=job.max_attempts,
            unique=job.args_hash is not None,
            dedup_key=job.dedup_key,
        )

    @classmethod
    def of_stored(cls, job: Job, registry: Registry) -> EnqueuedJob:
        """A job in the store. After a retry or a snooze ``scheduled_at`` is that of the next attempt."""
        args, stored = _arguments(job.args, registry.find(job.job_name))
        return cls(
            id=job.id,
            name=job.job_name,
            args=args,
            stored_args=stored,
            queue=job.queue,
            priority=job.priority,
            enqueued_at=job.created_at,
            scheduled_at=job.scheduled_at,
            max_attempts=job.max_attempts,
            unique=job.unique_job,
            dedup_key=job.dedup_key,
        )

    @classmethod
    def of_dead_letter(cls, letter: DeadLetter, registry: Registry) -> EnqueuedJob:
        """A job that gave up."""
        args, stored = _arguments(letter.args, registry.find(letter.job_name))
        return cls(
            id=letter.id,
            name=letter.job_name,
            args=args,
            stored_args=stored,
            queue=letter.queue,
            priority=letter.priority,
            enqueued_at=letter.original_created_at,
            scheduled_at=letter.original_created_at,
            max_attempts=letter.max_attempts,
        )

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        when = f"in {self.delay}" if self.delay > _AT_ONCE else "at once"
        if self.delay > _AT_ONCE:
            when += f" ({self.scheduled_at.isoformat(sep=' ', timespec='seconds')})"
        facts = [f"queue {self.queue!r}", f"priority {self.priority}", when]
        facts += ["unique"] if self.unique else []
        facts += [f"dedup_key {self.dedup_key!r}"] if self.dedup_key is not None else []
        return f"{call(self.name, self.args)}: {', '.join(facts)}"


def _arguments(
    stored: Mapping[str, JSON], task: Task[..., Any] | None
) -> tuple[Mapping[str, Any], Mapping[str, JSON]]:
    """The arguments by name, and what is stored of each; as values as far as that takes no database."""
    types = REGISTERED
    if task is not None:
        stored, types = task.signature.by_name(stored), task.types
    return {key: _value(value, types) for key, value in stored.items()}, stored


def _value(stored: JSON, types: Types) -> Any:
    if references_in(stored):
        return stored
    try:
        return decode_values(stored, types=types)
    except InvalidArguments:
        return stored


def call(name: str, args: Mapping[str, Any]) -> str:
    """The call that a job is, as Python would write it."""
    return f"{name}({', '.join(f'{key}={shown(value)}' for key, value in args.items())})"


def shown(value: object) -> str:
    """The repr of a value, cut if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"


def name_of(job: Named) -> str:
    """The name under which a job is enqueued."""
    if isinstance(job, str):
        return job
    if isinstance(job, Task | TaskRef):
        return job.name
    if isinstance(job, DjangoTask):
        return job.module_path
    raise TypeError(
        f"{job!r} is no job: give a function decorated with @soniq.job or @task, or the name of one"
    )


def declared(job: Named) -> Task[..., Any] | None:
    """The job itself, if its code is known here."""
    return job if isinstance(job, Task) else get_default_app().registry.find(name_of(job))


def holds(expected: object, value: object, stored: JSON) -> bool:
    """Whether an argument is the expected one, or what is stored of it is what would be of that one."""
    if expected == value:
        return True
    try:
        return bool(encode_values(expected, limit=_UNLIMITED) == stored)
    except Exception:  # noqa: BLE001  # a value that cannot be stored is not what was stored
        return False
