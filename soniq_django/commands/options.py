"""Options that several commands have, under one name and with one meaning each."""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from soniq.settings import MAX_SECONDS

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)?", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATIONS = "give a number and s, min, h, d or w, such as 90s, 15min, 2h or 7d"
SNIPPET = 40  # characters of bad JSON that are shown on either side


def add_database(parser: ArgumentParser) -> None:
    """``--database ALIAS``."""
    parser.add_argument(
        "--database",
        metavar="ALIAS",
        help="look at the tables in this database (default: SONIQ['DATABASE'], or where your routers "
        "write jobs)",
    )


def add_json(parser: ArgumentParser, what: str) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help=f"write {what}")


def add_dry_run(parser: ArgumentParser) -> None:
    """``--dry-run``."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")


def add_yes(parser: ArgumentParser, handful: int) -> None:
    """``--yes``."""
    parser.add_argument(
        "--yes",
        action="store_true",
        help=f"do not ask; needed in a pipe for more than {handful}",
    )


def whole(*, least: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise ArgumentTypeError(f"{text!r}: give a whole number, {least} or more")
        return value

    return number


def positive_seconds(text: str) -> float:
    """The type of an option that takes seconds, more than 0."""
    value = duration(text)
    if not value:
        raise ArgumentTypeError(f"{text!r}: give more than 0 seconds")
    return value


def duration(text: str) -> float:
    """Seconds: of a plain number, or of a number and a unit."""
    found = _DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * _SECONDS[(found[2] or "s").lower()] if found else MAX_SECONDS + 1
    if seconds > MAX_SECONDS:
        raise ArgumentTypeError(f"{text!r} is no duration; {_DURATIONS}")
    return seconds


def days(text: str) -> float:
    """Seconds of so many days, or of a duration with its unit."""
    plain = text.strip()
    return duration(f"{plain}d" if plain[-1:].isdigit() else plain)


def instant(text: str) -> datetime:
    """A time, aware: ISO 8601, in the project's current time zone unless it names its own."""
    try:
        found = parse_datetime(text)
        if found is None and (day := parse_date(text)):
            found = datetime(day.year, day.month, day.day)  # noqa: DTZ001  # is made aware below
    except ValueError:  # well formed, such as the 30th of February
        found = None
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no time; give one such as 2026-05-01T09:00 or 2026-05-01")
    return found if timezone.is_aware(found) else timezone.make_aware(found)


def moment(text: str) -> datetime:
    """A time in the past: as :func:`instant`, or how long ago it was."""
    if _DURATION.fullmatch(text.strip()) and not text.strip().isdigit():  # 2026 could be a year
        return datetime.now(UTC) - timedelta(seconds=duration(text))
    try:
        return instant(text)
    except ArgumentTypeError:
        raise ArgumentTypeError(
            f"{text!r} is neither a time nor an age; give one such as 2026-05-01T09:00, 2h or 7d"
        ) from None


def json_object(option: str, text: str) -> dict[str, Any]:
    """The arguments of a job.

    :param text: JSON; ``-`` reads it from the standard input
    :raises CommandError: it is none, or no object; says where
    """
    if text == "-":
        text = sys.stdin.read()
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise CommandError(f"{option} is no JSON: {_where(text, error)}") from None
    except RecursionError:
        raise CommandError(f"{option} is nested too deep to be read") from None
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(value), f"{value!r}")
        raise CommandError(f'{option} is {kind}: give an object of keyword arguments, such as {{"id": 1}}')
    return value


def _where(text: str, error: json.JSONDecodeError) -> str:
    """What is wrong, and the place, with what stands around it and a mark below."""
    line = error.doc.splitlines()[error.lineno - 1] if error.doc.strip() else ""
    at = min(error.colno - 1, len(line))
    start = max(at - SNIPPET, 0)
    place = f"line {error.lineno}, column {error.colno}" if "\n" in text.strip() else f"column {error.colno}"
    told = f"{error.msg} at {place}"
    if not line:
        return f"{told}; give an object such as {{}}"
    return f"{told}\n  {line[start : at + SNIPPET]}\n  {' ' * (at - start)}^"
