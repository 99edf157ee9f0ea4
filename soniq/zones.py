"""Time zones by name."""

from __future__ import annotations

import difflib
import zoneinfo

from soniq.errors import InvalidSchedule

UTC_NAME = "UTC"


def zone(name: str) -> zoneinfo.ZoneInfo:
    """The time zone of this name.

    :raises InvalidSchedule: there is none; suggests the nearest name
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError):
        # Names come from people and from rows: a directory, a path or no text at all are no zones either.
        raise InvalidSchedule(f"timezone is {name!r}, which is unknown here; {_hint(name)}") from None


def _hint(name: object) -> str:
    known = zoneinfo.available_timezones()
    if not known:
        return "this system has no time zones: install the package tzdata"
    by_lower = {zone.casefold(): zone for zone in sorted(known)}
    wanted = str(name).strip().replace(" ", "_").casefold()
    near = difflib.get_close_matches(wanted, by_lower, n=1) or [
        lower for lower in by_lower if lower.rpartition("/")[2] == wanted
    ]
    return f"did you mean {by_lower[near[0]]!r}?" if near else "give a name such as 'Europe/Berlin'"
