"""Reading back what a row holds, the same way in every store."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from soniq.jobs import JSON
from soniq.records import FailedAttempt
from soniq.transitions import Change

MAX_FAILURES = 20  # that a job's history holds; the oldest go first


def decoded(text: str | None) -> JSON:
    """The value of stored JSON text.

    Text that is not JSON (a row edited by hand) is given back as it stands. Whoever runs the job
    refuses it like all arguments that are no object; raising here would stop the whole claim, and
    every claim after it.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def with_failure(history: JSON, change: Change, *, started_at: datetime | None, at: datetime) -> str:
    """The stored history with the failure of a change behind it, as JSON text.

    :param history: as it was read; what is no list is begun anew
    :param started_at: of the attempt that failed
    :param at: now, by the clock of the store
    """
    failure = change.failure
    assert failure is not None  # noqa: S101  # asked only of changes that have one
    entries = history if isinstance(history, list) else []
    entry = {
        "attempt": change.attempt,
        "worker_id": change.worker_id,
        "started_at": None if started_at is None else started_at.isoformat(),
        "at": at.isoformat(),
        "error_class": failure.error_class,
        "error": failure.error,
    }
    return json.dumps([*entries, entry][-MAX_FAILURES:], ensure_ascii=False)


def failed_attempts(history: JSON) -> tuple[FailedAttempt, ...]:
    """A stored history as values; entries that are none (a row edited by hand) are left out."""
    if not isinstance(history, list):
        return ()
    return tuple(found for found in map(_failed_attempt, history) if found is not None)


def _failed_attempt(entry: JSON) -> FailedAttempt | None:
    try:
        started_at, error_class = entry.get("started_at"), entry.get("error_class")
        return FailedAttempt(
            attempt=int(entry["attempt"]),
            worker_id=str(entry["worker_id"]),
            started_at=None if started_at is None else _instant(started_at),
            at=_instant(entry["at"]),
            error_class=None if error_class is None else str(error_class),
            error=str(entry["error"]),
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return None


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
