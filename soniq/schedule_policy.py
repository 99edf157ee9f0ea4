"""What a schedule owes now: what is made of fire times that were missed, or that overlap.

Pure: the time comes in as an argument, and nothing is written.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from soniq.fire_times import fire_times
from soniq.schedule_records import Misfire, Overlap, Schedule

LATE = 30.0  # seconds; a fire time that is seen within them was not missed
MOST_AT_ONCE = 100  # jobs that one schedule makes at once


@dataclass(frozen=True, slots=True)
class Firing:
    """What is to become of a schedule now."""

    fire_times: tuple[datetime, ...]  # one job for each, oldest first
    skipped: int  # fire times that get none
    next: datetime | None  # the next fire time; None: there is none any more


def decide(schedule: Schedule, now: datetime, *, previous_live: bool = False) -> Firing:
    """What a schedule owes at ``now``, by its policies. Nothing, if it is not due.

    :param previous_live: whether the job of its last run still waits or runs
    """
    first = schedule.next_fire_at
    if first is None or first > now:
        return Firing((), 0, first)
    newest, count, following = _due(schedule, first, now)
    run = _wanted(schedule, newest, now, previous_live=previous_live)
    return Firing(run, count - len(run), following)


def due_at(schedule: Schedule, fire_time: datetime, now: datetime) -> datetime:
    """When the job of a fire time is due: then, or now if that was missed; with the schedule's jitter.

    The jitter is drawn from the name and the fire time, so it is the same whoever asks.
    """
    drawn = hashlib.sha256(f"{schedule.name}@{fire_time.isoformat()}".encode()).digest()
    share = int.from_bytes(drawn[:8]) / 2**64
    start = fire_time if (now - fire_time).total_seconds() <= LATE else now
    return start + timedelta(seconds=share * schedule.jitter)


def _due(schedule: Schedule, first: datetime, now: datetime) -> tuple[deque[datetime], int, datetime | None]:
    """The newest fire times up to now, how many there are of all, and the first one behind."""
    newest: deque[datetime] = deque([first], MOST_AT_ONCE)
    count = 1
    after = first
    if schedule.every is not None:
        # Counted without walking through them: a short interval may have been down for long.
        step = timedelta(seconds=schedule.every)
        last = now if schedule.ends_at is None else min(now, schedule.ends_at)
        after = max(first, last - step * MOST_AT_ONCE)
        count += (after - schedule.anchor_at) // step - (first - schedule.anchor_at) // step
    for time in fire_times(schedule, schedule.anchor_at, after):
        if time > now:
            return newest, count, time
        newest.append(time)
        count += 1
    return newest, count, None


def _wanted(
    schedule: Schedule, newest: deque[datetime], now: datetime, *, previous_live: bool
) -> tuple[datetime, ...]:
    """Those of the fire times that are to run."""

    def younger_than(seconds: float) -> tuple[datetime, ...]:
        return tuple(time for time in newest if (now - time).total_seconds() <= seconds)

    if schedule.misfire is Misfire.SKIP:
        run = younger_than(LATE)
    else:
        run = tuple(newest) if schedule.max_age is None else younger_than(max(schedule.max_age, LATE))
    if schedule.overlap is Overlap.SKIP:
        return () if previous_live else run[-1:]
    return run if schedule.misfire is Misfire.ALL else run[-1:]
