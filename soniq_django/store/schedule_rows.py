"""Between rows of the schedules table and what the contract speaks of."""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from typing import Any, TypeVar

from soniq.schedule_records import INSTANTS, Misfire, Overlap
from soniq.schedule_records import Schedule as ScheduleRecord
from soniq_django.models import Schedule
from soniq_django.store.rows import maybe_aware
from soniq_django.times import stored_time

E = TypeVar("E", bound=StrEnum)

_NAMES = tuple(field.name for field in fields(ScheduleRecord))


def columns_of(schedule: ScheduleRecord) -> dict[str, Any]:
    """The columns of the row that a schedule is kept in."""
    values = {name: getattr(schedule, name) for name in _NAMES}
    for name in INSTANTS:
        values[name] = None if values[name] is None else stored_time(values[name])
    values["former_definitions"] = list(schedule.former_definitions)
    return values


def schedule_record(row: Schedule) -> ScheduleRecord:
    """A row of the schedules table as the contract speaks of it.

    A policy that is none (a row edited by hand) is the usual one: one such row must not keep workers from
    reading the others.
    """
    values = {name: getattr(row, name) for name in _NAMES}
    values |= {name: maybe_aware(values[name]) for name in INSTANTS}
    former = row.former_definitions
    values["former_definitions"] = tuple(map(str, former)) if isinstance(former, list) else ()
    values["last_job_id"] = None if row.last_job_id is None else str(row.last_job_id)
    values["misfire"] = _one_of(Misfire, row.misfire, Misfire.ONCE)
    values["overlap"] = _one_of(Overlap, row.overlap, Overlap.ALLOW)
    return ScheduleRecord(**values)


def _one_of(known: type[E], value: str, usual: E) -> E:
    try:
        return known(value)
    except ValueError:
        return usual
