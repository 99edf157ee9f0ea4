"""Rules in words: ``daily().at("09:00")`` for ``"0 9 * * *"``.

What they give is what ``app.scheduler.add`` and ``@periodic`` take as ``cron=`` and ``every=``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from soniq.errors import InvalidSchedule
from soniq.fire_times import check_rule
from soniq.settings import is_seconds
from soniq.zones import UTC_NAME

WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")  # as cron counts
LAST_DAY = 31

_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


def cron(expression: str) -> str:
    """The cron expression itself, once it is found to be one: minute, hour, day, month, weekday.

    :raises InvalidSchedule: it cannot be read, or no date fulfils it
    """
    check_rule(expression, None, UTC_NAME)
    return expression


@dataclass(frozen=True, slots=True)
class every:  # noqa: N801  # reads as a word of the rule: every(5).minutes()
    """So many seconds, minutes, hours or days between two fire times: ``every(5).minutes()``."""

    count: float

    def seconds(self) -> timedelta:
        """So many seconds."""
        return self._of("seconds")

    def minutes(self) -> timedelta:
        """So many minutes."""
        return self._of("minutes")

    def hours(self) -> timedelta:
        """So many hours."""
        return self._of("hours")

    def days(self) -> timedelta:
        """So many times 24 hours, whatever the clock on the wall shows."""
        return self._of("days")

    def _of(self, unit: str) -> timedelta:
        if not is_seconds(self.count) or not self.count:
            raise InvalidSchedule(f"every({self.count!r}): give a number above 0, such as every(5).{unit}()")
        return timedelta(**{unit: self.count})


@dataclass(frozen=True, slots=True)
class daily:  # noqa: N801  # reads as a word of the rule: daily().at("09:00")
    """Once a day: ``daily().at("09:00")``."""

    def at(self, time: str) -> str:
        """At this time of the day, ``"HH:MM"``."""
        return f"{_minute_and_hour(time)} * * *"


@dataclass(frozen=True, slots=True)
class weekly:  # noqa: N801  # reads as a word of the rule: weekly().on("monday").at("09:00")
    """On days of the week: ``weekly().on("monday", "thursday").at("09:00")``."""

    weekdays: tuple[int, ...] = (1,)  # without on(): Mondays

    def on(self, *days: str) -> weekly:
        """On these days, by their English names."""
        for day in days:
            if not isinstance(day, str) or day.casefold() not in WEEKDAYS:
                raise InvalidSchedule(f"{day!r} is no weekday: give one of {', '.join(WEEKDAYS)}")
        if not days:
            raise InvalidSchedule("on() names no weekday: give one or more, such as on('monday')")
        return weekly(tuple(sorted({WEEKDAYS.index(day.casefold()) for day in days})))

    def at(self, time: str) -> str:
        """At this time of these days, ``"HH:MM"``."""
        return f"{_minute_and_hour(time)} * * {','.join(map(str, self.weekdays))}"


@dataclass(frozen=True, slots=True)
class monthly:  # noqa: N801  # reads as a word of the rule: monthly().on_day(15).at("12:00")
    """On a day of each month: ``monthly().on_day(15).at("12:00")``."""

    day: int = 1  # without on_day(): the first

    def on_day(self, day: int) -> monthly:
        """On this day of the month, 1 to 31; months that lack it are skipped."""
        if isinstance(day, bool) or not isinstance(day, int) or not 1 <= day <= LAST_DAY:
            raise InvalidSchedule(f"{day!r} is no day of a month: give a whole number from 1 to {LAST_DAY}")
        return monthly(day)

    def at(self, time: str) -> str:
        """At this time of the day, ``"HH:MM"``."""
        return f"{_minute_and_hour(time)} {self.day} * *"


def _minute_and_hour(time: str) -> str:
    found = _TIME.fullmatch(time) if isinstance(time, str) else None
    if found is None:
        raise InvalidSchedule(f"{time!r} is no time of day: give hours and minutes, such as '09:00'")
    hour, minute = map(int, found.groups())
    return f"{minute} {hour}"
