"""What a source of rows gives, and what it has to be able to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job as another queue keeps it."""

    row: Any  # primary key
    task: str  # its name there
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None  # None = the job's own
    priority: int | None = None  # soniq's scale; None = the job's own
    scheduled_at: datetime | None = None
    dedup_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmovable:
    """A row that has to stay, and why."""

    row: Any
    task: str
    reason: str


Row: TypeAlias = Waiting | Unmovable


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """A schedule; soniq has none yet, so it is only told."""

    name: str
    call: str
    when: str
    enabled: bool = True

    def __str__(self) -> str:
        state = "" if self.enabled else " (switched off)"
        return f"{self.name}: {self.call} {self.when}{state}"


class Source(Protocol):
    """One table of another queue."""

    what: str  # "waiting jobs", for people
    alias: str  # its database

    def count(self) -> int:
        """How many rows there are to look at."""
        ...

    def batch(self, limit: int) -> list[Row]:
        """The next rows, locked until the transaction ends; each row once, none = that was all."""
        ...

    def take(self, rows: Sequence[Any]) -> int:
        """Take rows out of the other queue, within the transaction; return how many there were."""
        ...


class SourceError(Exception):
    """The other queue cannot be read; the message says what to do."""


def call_text(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The call, as Python would write it."""
    given = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
    return f"{task}({', '.join(given)})"
