"""What people and code say of a schedule: each value as it is stored, or refused in words that help."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypedDict, TypeVar
from zoneinfo import ZoneInfo

from soniq.errors import InvalidSchedule
from soniq.fire_times import check_rule
from soniq.schedule_records import Misfire, Overlap, ScheduleSpec
from soniq.settings import is_seconds

E = TypeVar("E", bound=StrEnum)

MAX_NAME = 255


class ScheduleKeywords(TypedDict, total=False):
    """When a schedule fires, and how; of cron and every exactly one."""

    cron: str  # five fields: minute, hour, day, month, weekday; or what daily().at("09:00") gives
    every: timedelta | float  # such as every(5).minutes(), or seconds; 1 or more
    timezone: str | ZoneInfo  # of a cron rule; default: the setting timezone
    starts_at: datetime  # aware; no fire time before
    ends_at: datetime  # aware; no fire time after
    misfire: Misfire | str  # fire times that nobody saw in time: "once", "skip" or "all"
    max_age: timedelta | float  # seconds; what was missed for longer is skipped
    overlap: Overlap | str  # while the run before is live: "allow" or "skip"
    jitter: timedelta | float  # seconds; each job is due up to so much after its fire time


def spec_of(
    options: ScheduleKeywords | Mapping[str, Any],
    *,
    name: str,
    job_name: str,
    args_json: str,
    queue: str | None,
    priority: int | None,
    timezone: str,
) -> ScheduleSpec:
    """The schedule that is wanted, checked.

    :param timezone: where the options name none
    :raises InvalidSchedule: names the value, and what to give instead
    """
    zone: Any = options.get("timezone")
    spec = ScheduleSpec(
        name=name,
        job_name=job_name,
        args_json=args_json,
        queue=queue,
        priority=priority,
        cron=options.get("cron"),
        every=_seconds(options.get("every")),
        timezone=timezone if zone is None else getattr(zone, "key", zone),
        starts_at=_instant("starts_at", options.get("starts_at")),
        ends_at=_instant("ends_at", options.get("ends_at")),
        misfire=_one_of(Misfire, "misfire", options.get("misfire", Misfire.ONCE)),
        max_age=_seconds(options.get("max_age")),
        overlap=_one_of(Overlap, "overlap", options.get("overlap", Overlap.ALLOW)),
        jitter=_seconds(options.get("jitter", 0.0)),
    )
    check(spec)
    return spec


def check(spec: ScheduleSpec) -> None:
    """Refuse a schedule that cannot work.

    :raises InvalidSchedule: names the value, and what to give instead
    """
    check_name(spec.name)
    check_rule(spec.cron, spec.every, spec.timezone)
    if not is_seconds(spec.jitter):
        raise InvalidSchedule(f"jitter is {spec.jitter!r}: give 0 or more seconds")
    if spec.max_age is not None and not is_seconds(spec.max_age):
        raise InvalidSchedule(f"max_age is {spec.max_age!r}: give 0 or more seconds")
    if spec.starts_at is not None and spec.ends_at is not None and spec.starts_at > spec.ends_at:
        raise InvalidSchedule(f"ends_at ({spec.ends_at}) is before starts_at ({spec.starts_at})")


def check_name(name: object) -> str:
    """``name`` if it can be the name of a schedule.

    :raises InvalidSchedule: it cannot
    """
    if (
        not isinstance(name, str)
        or not name.isprintable()
        or name != name.strip()
        or not 0 < len(name) <= MAX_NAME
    ):
        raise InvalidSchedule(
            f"{name!r} is no name of a schedule: give 1 to {MAX_NAME} printable characters, "
            "no spaces around them"
        )
    return name


def _seconds(value: Any) -> Any:
    """A timedelta in seconds; what is no time at all is left for the checks to refuse."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return float(value) if is_seconds(value) else value


def _instant(option: str, value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidSchedule(f"{option} is {value!r}: give an aware datetime")
    return value.astimezone(UTC)


def _one_of(known: type[E], option: str, value: Any) -> E:
    try:
        return known(value)
    except ValueError:
        names = " or ".join(repr(one.value) for one in known)
        raise InvalidSchedule(f"{option} is {value!r}: give {names}") from None
