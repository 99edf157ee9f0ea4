"""A schedule's rule as people say it, where that says neither more nor less than the rule."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNITS = (
    (86_400, "day of 24 hours", "days of 24 hours"),
    (3_600, "hour", "hours"),
    (60, "minute", "minutes"),
)
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NUMBERS = re.compile(r"\d+(,\d+)*")
_MOST = 4  # values of a field that are told one by one
_HOUR = 60  # minutes
_EVER = "*"


def rule_in_words(cron: str | None, every: float | None) -> str:
    """Such as "every 5 minutes" or "every Monday at 09:00"; a cron rule of another form as it is written."""
    if every is not None:
        return _interval(every)
    return _of_cron(cron or "") or (cron or "")


def _interval(seconds: float) -> str:
    """In the largest unit of which it is a whole number."""
    for size, one, many in _UNITS:
        count, rest = divmod(seconds, size)
        if count and not rest:
            return f"every {one}" if count == 1 else f"every {count:,.0f} {many}"
    return "every second" if seconds == 1 else f"every {seconds:g} seconds"


def _of_cron(cron: str) -> str | None:
    fields = cron.split()
    if len(fields) != 5:  # noqa: PLR2004  # cron's
        return None
    minute, hour, day, month, weekday = fields
    if (day, month, weekday) == (_EVER, _EVER, _EVER) and hour == _EVER:
        return _within_hours(minute)
    times = _times(minute, hour)
    days = _days(day, month, weekday)
    return None if times is None or days is None else f"{days} at {_listed(times)}"


def _within_hours(minute: str) -> str | None:
    """Of a rule that fires in every hour."""
    if minute == _EVER:
        return "every minute"
    step = minute.removeprefix("*/")
    if minute != step and step.isdecimal() and int(step) and _HOUR % int(step) == 0:
        return f"every {int(step)} minutes" if int(step) > 1 else "every minute"
    numbers = _numbers(minute)
    return None if numbers is None else f"every hour at {_listed([f':{one:02}' for one in numbers])}"


def _times(minute: str, hour: str) -> list[str] | None:
    minutes, hours = _numbers(minute), _numbers(hour)
    if minutes is None or hours is None or len(minutes) > 1:
        return None
    return [f"{one:02}:{minutes[0]:02}" for one in hours]


def _days(day: str, month: str, weekday: str) -> str | None:
    if month != _EVER:
        return None
    if day == _EVER and weekday == _EVER:
        return "every day"
    if day == _EVER:
        if weekday == "1-5":
            return "Monday to Friday"
        numbers = _numbers(weekday)
        return None if numbers is None else f"every {_listed([_DAYS[one % 7] for one in numbers])}"
    numbers = _numbers(day) if weekday == _EVER else None
    if numbers is None:
        return None
    return f"on {'day' if len(numbers) == 1 else 'days'} {_listed(list(map(str, numbers)))} of each month"


def _numbers(field: str) -> list[int] | None:
    """The values of a field that lists a few."""
    if _NUMBERS.fullmatch(field) is None:
        return None
    numbers = sorted(set(map(int, field.split(","))))
    return numbers if len(numbers) <= _MOST else None


def _listed(words: Sequence[str]) -> str:
    """Such as "a", "a and b" or "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
