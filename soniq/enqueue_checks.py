"""What an enqueue may say: each value in the form that is stored, or refused in words that help."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from soniq.arguments import encode
from soniq.errors import InvalidEnqueue
from soniq.job_options import MAX_NAME
from soniq.settings import is_seconds

Aware: TypeAlias = Callable[[datetime], datetime | None]

MAX_DEDUP_KEY = 255
LAST_YEAR = 9998  # of scheduled_at; sums beyond the year 9999 overflow


def due(value: object, aware: Aware) -> tuple[float, datetime | None]:
    """``scheduled_at`` as (seconds from the database's now, or an instant)."""
    if value is None:
        return 0.0, None
    if isinstance(value, datetime):
        instant = value if value.utcoffset() is not None else aware(value)
        if instant is None:
            raise InvalidEnqueue(
                f"scheduled_at is the naive {value.isoformat()}: give it a time zone "
                "(in Django: timezone.make_aware(...)), or pass seconds or a timedelta from now"
            )
        return 0.0, _instant(instant)
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidEnqueue(
            f"scheduled_at is {value!r}: give an aware datetime, a timedelta, or seconds from now"
        )
    if not is_seconds(value):
        raise InvalidEnqueue(f"scheduled_at is {value!r} seconds from now: give 0 or more")
    return float(value), None


def _instant(value: datetime) -> datetime:
    """``value`` in UTC, if every store can hold it and do sums with it."""
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        utc = None
    if utc is None or utc.year > LAST_YEAR:
        raise InvalidEnqueue(
            f"scheduled_at is {value.isoformat()}: give a time from the year 1 to {LAST_YEAR} in UTC"
        )
    return utc


def job_name(value: object) -> str:
    """A job's name that is not known here, if it can be one somewhere else."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise InvalidEnqueue(f"{value!r} is no job name: give a text of 1 to {MAX_NAME} characters")
    encode(value, limit=8 * MAX_NAME, path="the job's name")
    return value


def flag(value: bool | None) -> bool | None:
    """``unique``, if it was given."""
    if value is not None and not isinstance(value, bool):
        raise InvalidEnqueue(f"unique is {value!r}: give True or False")
    return value


def dedup_key(value: object) -> str | None:
    """``dedup_key``, if it was given."""
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_DEDUP_KEY:
        raise InvalidEnqueue(f"dedup_key is {value!r}: give a text of 1 to {MAX_DEDUP_KEY} characters")
    encode(value, limit=8 * MAX_DEDUP_KEY, path="dedup_key")
    return value


def unique_key(name: str, dedup_key: str | None, hashed: str | None) -> str | None:
    """What at most one live job may hold: one per (name, key), or per (name, arguments)."""
    if dedup_key is None and hashed is None:
        return None
    kind, value = ("args", hashed) if dedup_key is None else ("key", dedup_key)
    return hashlib.sha256(f"{name}\x00{kind}\x00{value}".encode()).hexdigest()
