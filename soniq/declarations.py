"""Schedules that code declares, with ``@periodic``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from soniq.job_options import JobKeywords
from soniq.schedule_specs import ScheduleKeywords, spec_of
from soniq.task import Task
from soniq.zones import UTC_NAME


class PeriodicKeywords(JobKeywords, ScheduleKeywords, total=False):
    """The options of ``@periodic``: those of ``@job``, those of a schedule, and these."""

    args: Mapping[str, Any]  # what the job is called with
    schedule_name: str  # default: the name of the job


@dataclass(frozen=True, slots=True)
class Declaration:
    """A schedule as code declares it. Its arguments are not encoded yet: classes may be registered later."""

    name: str
    task: Task[..., Any]
    args: Mapping[str, Any]
    options: ScheduleKeywords


_OF_SCHEDULE = frozenset({*ScheduleKeywords.__annotations__, "args", "schedule_name"})


def split(options: PeriodicKeywords) -> tuple[dict[str, Any], JobKeywords]:
    """The options of the schedule, and those of the job."""
    given: dict[str, Any] = dict(options)
    of_schedule = {name: given.pop(name) for name in list(given) if name in _OF_SCHEDULE}
    return of_schedule, cast("JobKeywords", given)


def declaration(task: Task[..., Any], options: dict[str, Any]) -> Declaration:
    """What is declared, checked as far as that is possible before the app is known."""
    options = dict(options)
    args = options.pop("args", None) or {}
    name = options.pop("schedule_name", task.name)
    task.signature.bind((), args)
    spec_of(
        options,
        name=name,
        job_name=task.name,
        args_json="{}",
        queue=None,
        priority=None,
        timezone=UTC_NAME,
    )
    return Declaration(name, task, args, cast("ScheduleKeywords", options))
