"""A schedule as the storage keeps it, and how one is changed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from soniq.jobs import JSON, NewJob

# In the context of a job that a schedule made; no name of a context of the project can be the same.
CONTEXT_KEY = "$schedule"


class ScheduleStatus(StrEnum):
    """Where a schedule stands."""

    ACTIVE = "active"  # fires when its time comes
    PAUSED = "paused"  # somebody stopped it; what it would have fired meanwhile is not made up for
    ENDED = "ended"  # fires no more

    @classmethod
    def of(cls, *, paused: bool, fires: bool) -> ScheduleStatus:
        """That of a schedule which somebody stopped, or which has a next fire time."""
        if paused:
            return cls.PAUSED
        return cls.ACTIVE if fires else cls.ENDED


class Misfire(StrEnum):
    """What becomes of fire times that nobody saw in time, as no worker ran."""

    ONCE = "once"  # the last of them runs, the others are skipped
    SKIP = "skip"  # none of them runs
    ALL = "all"  # each of them runs, up to the last 100


class Overlap(StrEnum):
    """What becomes of a fire time while the run before it is still live."""

    ALLOW = "allow"  # it runs all the same
    SKIP = "skip"  # it is skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """What somebody wants of a schedule; checked by :func:`soniq.schedule_specs.check`."""

    name: str  # the key
    job_name: str
    args_json: str = "{}"  # keyword arguments in their stored form, as JSON text
    queue: str | None = None  # None: what the job says when it fires
    priority: int | None = None  # None: what the job says when it fires
    # The rule; exactly one of cron and every is given.
    cron: str | None = None  # five fields
    every: float | None = None  # seconds
    timezone: str = "UTC"  # what the clock on the wall means for a cron rule
    starts_at: datetime | None = None  # no fire time before
    ends_at: datetime | None = None  # no fire time after
    # The policies.
    misfire: Misfire = Misfire.ONCE
    max_age: float | None = None  # seconds; fire times missed for longer are skipped whatever misfire says
    overlap: Overlap = Overlap.ALLOW
    jitter: float = 0.0  # seconds; each job is due up to so much after its fire time

    @property
    def args(self) -> JSON:
        """The arguments in their stored form; text that is not JSON (a row edited by hand) as it stands."""
        try:
            return json.loads(self.args_json)
        except (ValueError, RecursionError):
            return self.args_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(ScheduleSpec):
    """A row of the schedules table. Every instant is aware, and in UTC."""

    # Where it comes from.
    declared: bool = False  # in code; only workers whose code declares it fire it
    definition: str | None = None  # fingerprint of what the code declared; None for those made at run time
    former_definitions: tuple[str, ...] = ()  # what it was before, oldest first: how old releases are known
    declared_at: datetime | None = None  # when a worker last said that its code declares it
    overridden: bool = False  # somebody changed it; what code declares changes it no more
    # How it goes.
    paused: bool = False
    anchor_at: datetime  # intervals are counted from here
    next_fire_at: datetime | None = None  # None: never, or not while it is paused
    last_fire_at: datetime | None = None  # the fire time that the last job stands for
    last_job_id: str | None = None
    fired: int = 0  # jobs so far
    skipped: int = 0  # fire times so far that no job stands for
    created_at: datetime
    updated_at: datetime
    version: int  # grows with each write, and from one schedule of a name to the next: the guard of a change

    @property
    def status(self) -> ScheduleStatus:
        """Where it stands."""
        return ScheduleStatus.of(paused=self.paused, fires=self.next_fire_at is not None)

    def to_dict(self) -> dict[str, Any]:
        """What people want to know of it, for JSON and the like."""
        row = asdict(self)
        del row["args_json"], row["former_definitions"], row["definition"], row["version"]
        row["misfire"], row["overlap"] = self.misfire.value, self.overlap.value
        return {**row, "args": self.args, "status": self.status.value}


# The fields that hold instants, which each store writes in a way of its own.
INSTANTS = tuple(field.name for field in fields(Schedule) if "datetime" in str(field.type))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleChange:
    """What is to become of one schedule, if it still is as whoever decided so has seen it."""

    name: str
    seen: int | None  # the version it must have; None: there must be no schedule of the name
    becomes: Schedule | None  # the whole row, its version included; None: it is removed
    jobs: tuple[NewJob, ...] = ()  # stored with the change: both or neither


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFilter:
    """Which schedules a worker may fire. None does not filter; given ones must both hold."""

    job_names: frozenset[str] | None = None  # schedules of these jobs, the ones whose code is here
    declared: frozenset[str] | None = None  # of those declared in code, only these names


def context_of(name: str, fire_time: datetime | None) -> dict[str, JSON]:
    """What the job of a schedule keeps of it, as its context.

    :param fire_time: the one that the job stands for; None: somebody ran it out of turn
    """
    return {CONTEXT_KEY: {"name": name, "fire_at": None if fire_time is None else fire_time.isoformat()}}


def fire_time_in(context: object) -> datetime | None:
    """The fire time that a job stands for, by its stored context; None: it stands for none."""
    made_by = context.get(CONTEXT_KEY) if isinstance(context, dict) else None
    try:
        return datetime.fromisoformat(made_by["fire_at"]) if isinstance(made_by, dict) else None
    except (KeyError, TypeError, ValueError):  # a row edited by hand may hold anything
        return None
