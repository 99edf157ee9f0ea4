"""When a schedule fires: its rule, and the clock on the wall.

A rule is a cron expression of five fields, read in a time zone, or a number of seconds between two fire
times. Where the clocks change:

- A time that the clock jumps over (02:30 in spring) fires once, right after the jump, if the rule names
  times (``30 2 * * *``); a rule that repeats within the hour (``*/10 2 * * *``) skips it.
- A time that the clock shows twice (02:30 in autumn) fires the first time only, unless the rule fires in
  every hour (``*/10 * * * *``), which both hours are.
- Intervals know no clock on the wall: they are counted in real seconds, from the schedule's anchor.

No clock is read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, takewhile

from cronsim import CronSim, CronSimError

from soniq.errors import InvalidSchedule
from soniq.schedule_records import Schedule, ScheduleSpec
from soniq.settings import is_seconds
from soniq.zones import UTC_NAME, zone

SHORTEST = 1.0  # seconds between two fire times
EXAMPLE = "'0 3 * * *' (at 03:00) or '*/15 * * * *' (every 15 minutes)"

_FIELDS = 5
_HOUR = 1  # the place of the hour among them
_SOME_TIME = datetime(2024, 1, 1, tzinfo=UTC)  # where the search for a rule's first fire time begins
_MOMENT = timedelta(microseconds=1)


def check_rule(cron: str | None, every: float | None, timezone: str) -> None:
    """Refuse what is no rule, and a rule that would never fire.

    :raises InvalidSchedule: names the value, and an example of a right one
    """
    zone(timezone)
    if (cron is None) == (every is None):
        given = "neither" if cron is None else "both"
        raise InvalidSchedule(f"of cron and every {given} is given: give one, such as cron={EXAMPLE}")
    if every is not None:
        if not is_seconds(every) or every < SHORTEST:
            raise InvalidSchedule(
                f"every is {every!r}: give {SHORTEST:g} or more seconds, or a timedelta "
                "such as every(5).minutes()"
            )
        return
    if not isinstance(cron, str) or len(cron.split()) != _FIELDS:
        raise InvalidSchedule(f"cron is {cron!r}: give a text of five fields, such as {EXAMPLE}")
    try:
        first = next(_cron_times(cron, timezone, _SOME_TIME), None)
    except CronSimError as error:
        raise InvalidSchedule(
            f"cron is {cron!r} ({error}): give minute, hour, day, month and weekday, such as {EXAMPLE}"
        ) from None
    if first is None:
        raise InvalidSchedule(f"cron is {cron!r}, which no date fulfils: give for example {EXAMPLE}")


def next_fire(spec: ScheduleSpec, anchor: datetime, after: datetime) -> datetime | None:
    """The first fire time behind ``after``, in UTC; None: there is none any more.

    :param anchor: from where intervals are counted
    """
    return next(fire_times(spec, anchor, after), None)


def fire_times(spec: ScheduleSpec, anchor: datetime, after: datetime) -> Iterator[datetime]:
    """All fire times behind ``after``, in order, in UTC. There may be no end of them."""
    after = after.astimezone(UTC)  # sums within a zone would be those of the clock on the wall
    if spec.starts_at is not None:
        after = max(after, spec.starts_at - _MOMENT)
    if spec.every is not None:
        times = _interval_times(timedelta(seconds=spec.every), anchor.astimezone(UTC), after)
    else:
        times = _cron_times(spec.cron or "", spec.timezone, after)
    ends_at = spec.ends_at
    return times if ends_at is None else takewhile(lambda time: time <= ends_at, times)


def preview(schedule: Schedule, count: int) -> list[datetime]:
    """The next ``count`` fire times, as far as there are any; none while it is paused."""
    if schedule.next_fire_at is None:
        return []
    later = fire_times(schedule, schedule.anchor_at, schedule.next_fire_at)
    return list(islice(chain([schedule.next_fire_at], later), count))


def _interval_times(step: timedelta, anchor: datetime, after: datetime) -> Iterator[datetime]:
    time = anchor + ((after - anchor) // step + 1) * step
    while True:
        yield time
        time += step


def _cron_times(expression: str, timezone: str, after: datetime) -> Iterator[datetime]:
    last = after
    # A rule that names its hours means a time on the wall, and each of those once.
    once = not expression.split()[_HOUR].startswith("*")
    for local in CronSim(expression, after.astimezone(UTC if timezone == UTC_NAME else zone(timezone))):
        time = local.astimezone(UTC)
        # Times that the clock jumps over become one; a search that began within the repeated hour may
        # find its first pass.
        if time > last and not (once and local.fold):
            last = time
            yield time
