"""Dates, times and durations as text that people and databases can read, and back without loss.

ISO 8601, with the name of the zone after it as in RFC 9557: ``2026-10-25T02:30:00+01:00[Europe/Berlin]``.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

_MICROSECOND = timedelta(microseconds=1)
_MOMENT = re.compile(r"(?P<iso>[^\[\]]+)(?:\[(?P<zone>[\w+\-./]+)\])?(?P<fold>\[fold=1\])?")
_UNDER_A_SECOND = re.compile(r"([+-])00:00:00\.(\d{6})\Z", re.ASCII)
_DURATION = re.compile(r"(-?)P(\d{1,10})DT(\d\d?)H(\d\d?)M(\d\d?)(?:\.(\d{6}))?S", re.ASCII)


def moment_text(value: datetime | time) -> str:
    """ISO 8601. A zone of ``zoneinfo`` is named; of any other tzinfo the offset is kept."""
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    return f"{value.isoformat()}{f'[{zone}]' if zone else ''}{'[fold=1]' if value.fold else ''}"


def datetime_of(text: str) -> datetime:
    """What :func:`moment_text` was given. If the rules of its zone have changed since, the same instant.

    :raises ValueError: it is no such text, or its zone is not known here
    """
    iso, zone, fold = _parts(text)
    value = datetime.fromisoformat(iso).replace(fold=fold)
    value = value.replace(tzinfo=_offset_of(iso) or value.tzinfo)
    if zone is None:
        return value
    there = value.replace(tzinfo=zone)
    return there if there.utcoffset() == value.utcoffset() else value.astimezone(zone)


def time_of(text: str) -> time:
    """What :func:`moment_text` was given.

    :raises ValueError: it is no such text, or its zone is not known here
    """
    iso, zone, fold = _parts(text)
    value = time.fromisoformat(iso).replace(fold=fold)
    return value.replace(tzinfo=zone or _offset_of(iso) or value.tzinfo)


def date_of(text: str) -> date:
    """The date of an ISO text.

    :raises ValueError: it is none
    """
    return date.fromisoformat(text)


def duration_text(value: timedelta) -> str:
    """Such as ``P1DT2H3M4.500000S``, with a minus sign in front if it is negative."""
    total = value // _MICROSECOND
    seconds, fraction = divmod(abs(total), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    decimals = f".{fraction:06d}" if fraction else ""
    return f"{'-' if total < 0 else ''}P{days}DT{hours}H{minutes}M{seconds}{decimals}S"


def duration_of(text: str) -> timedelta:
    """What :func:`duration_text` was given.

    :raises ValueError: it is no such text
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("no duration such as P1DT2H3M4S")
    sign, days, hours, minutes, seconds, fraction = found.groups(default="0")
    whole = ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
    total = whole * 1_000_000 + int(fraction)
    return timedelta(microseconds=-total if sign == "-" else total)


def _offset_of(iso: str) -> timezone | None:
    """The offset, if it is one that Python's own reading takes for UTC: less than a second."""
    found = _UNDER_A_SECOND.search(iso)
    if found is None:
        return None
    offset = int(found[2]) * _MICROSECOND
    return timezone(-offset if found[1] == "-" else offset)


def _parts(text: str) -> tuple[str, ZoneInfo | None, int]:
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("no time such as 2026-11-22T21:00:00+00:00")
    zone = found["zone"]
    return found["iso"], None if zone is None else ZoneInfo(zone), 1 if found["fold"] else 0
