"""What repeats: each schedule with its next fire time, and what became of its last job."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from django.db.models import QuerySet

from soniq.schedule_records import ScheduleStatus
from soniq.schedule_words import rule_in_words
from soniq_django.backend import DjangoBackend
from soniq_django.models import Schedule
from soniq_django.status.records import ScheduleState
from soniq_django.store.rows import maybe_aware

MOST_SCHEDULES = 200  # that are listed

Outcome: TypeAlias = tuple[str, str | None]  # of a job, and the reason if it gave up

DEAD = "dead_letter"
GONE: Outcome = ("removed", None)  # its row is past its time, or was deleted

_COLUMNS = (  # not the arguments, which may be long
    "name",
    "job_name",
    "cron",
    "every",
    "timezone",
    "paused",
    "next_fire_at",
    "last_fire_at",
    "last_job_id",
)


def schedules(backend: DjangoBackend) -> tuple[tuple[ScheduleState, ...], bool]:
    """The schedules by name; and whether there are more than were looked at."""
    rows = list(backend.schedules.only(*_COLUMNS).order_by("name")[: MOST_SCHEDULES + 1])
    shown = rows[:MOST_SCHEDULES]
    outcomes = _outcomes(backend, {row.last_job_id for row in shown if row.last_job_id is not None})
    found = [_state(row, outcomes) for row in shown]
    # Databases sort by alphabets of their own.
    return tuple(sorted(found, key=lambda one: one.name)), len(rows) > MOST_SCHEDULES


def _state(row: Schedule, outcomes: Mapping[UUID, Outcome]) -> ScheduleState:
    outcome, reason = (None, None) if row.last_job_id is None else outcomes.get(row.last_job_id, GONE)
    return ScheduleState(
        name=row.name,
        job_name=row.job_name,
        rule=rule_in_words(row.cron, row.every),
        cron=row.cron,
        every=row.every,
        timezone=row.timezone,
        status=ScheduleStatus.of(paused=row.paused, fires=row.next_fire_at is not None).value,
        next_fire_at=maybe_aware(row.next_fire_at),
        last_fire_at=maybe_aware(row.last_fire_at),
        last_job_id=None if row.last_job_id is None else str(row.last_job_id),
        last_outcome=outcome,
        last_reason=reason,
    )


def _outcomes(backend: DjangoBackend, ids: Collection[UUID]) -> dict[UUID, Outcome]:
    """By job: its status, and of one that gave up the reason."""
    if not ids:
        return {}
    found: dict[UUID, Outcome] = {pk: (status, None) for pk, status in _of(backend.jobs, ids, "status")}
    gone = [pk for pk in ids if pk not in found]
    letters = _of(backend.dead_letters, gone, "dead_letter_reason") if gone else []
    return {**found, **{pk: (DEAD, reason) for pk, reason in letters}}


def _of(rows: QuerySet[Any], ids: Collection[UUID], column: str) -> list[tuple[UUID, str]]:
    return list(rows.filter(pk__in=list(ids)).order_by().values_list("pk", column)[: len(ids)])
