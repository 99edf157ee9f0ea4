"""An enqueue as a test looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from soniq.arguments import decode
from soniq.codec import REGISTERED, Types, decode_values, encode_values, references_in
from soniq.errors import InvalidArguments
from soniq.jobs import JSON, NewJob
from soniq.records import DeadLetter, Job
from soniq.registry import Registry
from soniq.task import Task, TaskRef

Named: TypeAlias = Task[..., Any] | TaskRef | str

_AT_ONCE = timedelta(seconds=0.001)
_SHOWN = 200  # characters of one argument
_UNLIMITED = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedJob:
    """A job that was enqueued."""

    id: str
    name: str
    args: Mapping[str, Any]  # as the job gets them; what refers to objects of the database as it is stored
    stored_args: Mapping[str, JSON]
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
        stored = decode(job.args_json)
        return cls(
            id=job.id,
            name=job.job_name,
            args=_readable(stored, job.job_name, registry),
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
        return cls(
            id=job.id,
            name=job.job_name,
            args=_readable(job.args, job.job_name, registry),
            stored_args=job.args,
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
        return cls(
            id=letter.id,
            name=letter.job_name,
            args=_readable(letter.args, letter.job_name, registry),
            stored_args=letter.args,
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


def _readable(stored: Mapping[str, JSON], name: str, registry: Registry) -> Mapping[str, Any]:
    """The arguments as values, as far as that takes no database and the job is known."""
    task = registry.find(name)
    types = REGISTERED if task is None else task.types
    return {key: _value(value, types) for key, value in stored.items()}


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
    raise TypeError(f"{job!r} is no job: give a function decorated with @soniq.job, or the name of one")


def holds(expected: object, value: object, stored: JSON) -> bool:
    """Whether an argument is the expected one, or what is stored of it is what would be of that one."""
    if expected == value:
        return True
    try:
        return bool(encode_values(expected, limit=_UNLIMITED) == stored)
    except Exception:  # noqa: BLE001  # a value that cannot be stored is not what was stored
        return False
