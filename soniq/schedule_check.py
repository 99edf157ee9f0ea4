"""Whether this code can run what schedules will enqueue: what a deployment wants to know before it goes on.

Looked at are all schedules that are to fire, paused ones included, since somebody may resume them. Not
those that other code declares: they fire only where that code runs, and go with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from soniq.backend import StorageBackend
from soniq.check import refusal_of
from soniq.errors import InvalidSchedule, UnknownTask
from soniq.fire_times import check_rule
from soniq.jobs import JobContext
from soniq.registry import Registry
from soniq.schedule_records import Schedule, ScheduleStatus

Kind: TypeAlias = Literal["unknown_job", "invalid_arguments", "invalid_rule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFinding:
    """A schedule that cannot be fired here, or whose job could not be run."""

    kind: Kind
    name: str
    job_name: str
    status: ScheduleStatus
    next_fire_at: datetime | None
    reason: str


def check_schedules(backend: StorageBackend, registry: Registry) -> list[ScheduleFinding]:
    """Find schedules whose job is unknown here, whose arguments it refuses, or whose rule cannot be read.

    Reads only.
    """
    declared = registry.declarations()
    schedules = [
        schedule
        for schedule in backend.list_schedules()
        if schedule.status is not ScheduleStatus.ENDED
        and (not schedule.declared or schedule.name in declared)
    ]
    registry.learn({schedule.job_name for schedule in schedules})
    findings = []
    for schedule in schedules:
        problem = _problem(schedule, registry)
        if problem is not None:
            kind, reason = problem
            findings.append(
                ScheduleFinding(
                    kind=kind,
                    name=schedule.name,
                    job_name=schedule.job_name,
                    status=schedule.status,
                    next_fire_at=schedule.next_fire_at,
                    reason=reason,
                )
            )
    return findings


def _problem(schedule: Schedule, registry: Registry) -> tuple[Kind, str] | None:
    if schedule.declared and not schedule.overridden:
        return None  # the next worker of this code stores it as the code has it
    try:
        task = registry.get(schedule.job_name)
        check_rule(schedule.cron, schedule.every, schedule.timezone)
    except UnknownTask as error:
        return "unknown_job", str(error)
    except InvalidSchedule as error:
        return "invalid_rule", str(error)
    try:
        task.call_arguments(schedule.args, lambda: _context(schedule), unseen=True)
    except Exception as error:  # noqa: BLE001  # a model's validators are user code
        return "invalid_arguments", refusal_of(error)
    return None


def _context(schedule: Schedule) -> JobContext:
    at = schedule.next_fire_at or schedule.updated_at
    return JobContext(
        job_id="",
        job_name=schedule.job_name,
        attempt=1,
        max_attempts=1,
        queue=schedule.queue or "",
        worker_id="",
        scheduled_at=at,
        created_at=at,
        scheduled_for=at,
    )
