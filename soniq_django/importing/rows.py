"""What a source of rows gives, and what it has to be able to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from soniq.schedule_specs import ScheduleKeywords


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
class Repeating:
    """A schedule as another queue keeps it."""

    row: Any  # primary key
    name: str
    task: str  # its name there
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None  # None = the job's own
    priority: int | None = None  # soniq's scale; None = the job's own
    rule: ScheduleKeywords


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmovable:
    """A row that has to stay, and why."""

    row: Any
    task: str
    reason: str


Row: TypeAlias = Waiting | Repeating | Unmovable


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """A schedule that is declared in the project's code, so it is only told."""

    name: str
    call: str
    when: str

    def __str__(self) -> str:
        return f"{self.name}: {self.call} {self.when}"


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


def days_mean_either(cron: str) -> bool:
    """Whether the rule names days of the month and of the week, and means those that are either."""
    fields = cron.split()
    return len(fields) == 5 and not fields[2].startswith("*") and not fields[4].startswith("*")  # noqa: PLR2004  # cron's
