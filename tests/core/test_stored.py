"""What stores make of a stored history, whoever wrote it."""

from __future__ import annotations

import json
from datetime import UTC, timedelta, timezone

import pytest

from soniq import transitions
from soniq.backends.stored import MAX_FAILURES, failed_attempts, with_failure
from soniq.records import FailedAttempt
from tests.core.test_transitions import WHEN, claim

LATER = WHEN + timedelta(seconds=1.5)
CHANGE = transitions.fail(claim(attempt=2), error="boom ✗", delay=0.0, error_class="a.B")
FAILURE = FailedAttempt(
    attempt=2, worker_id="worker", started_at=WHEN, at=LATER, error_class="a.B", error="boom ✗"
)


def noted(history):
    return json.loads(with_failure(history, CHANGE, started_at=WHEN, at=LATER))


def test_a_failure_comes_back_as_it_was_noted():
    """To the microsecond, in UTC, wherever its times came from."""
    assert failed_attempts(noted(None)) == (FAILURE,)
    elsewhere = LATER.astimezone(timezone(timedelta(hours=5)))
    told = failed_attempts(json.loads(with_failure(None, CHANGE, started_at=None, at=elsewhere)))
    assert (told[0].started_at, told[0].at, told[0].at.tzinfo) == (None, LATER, UTC)


def test_the_oldest_failures_go_first():
    """So that a history has an end."""
    history = None
    for _ in range(MAX_FAILURES):
        history = noted(history)
    history[0]["error"] = "the oldest"
    assert len(history) == len(noted(history)) == MAX_FAILURES
    assert "the oldest" not in {one["error"] for one in noted(history)}


@pytest.mark.parametrize("garbage", [None, "text", 5, {"a": 1}, True], ids=repr)
def test_a_history_that_is_none_is_begun_anew(garbage):
    """A row that somebody edited keeps no outcome from being written."""
    assert failed_attempts(garbage) == ()
    assert failed_attempts(noted(garbage)) == (FAILURE,)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "text",
        [],
        {},
        {"attempt": "many"},
        {"attempt": 1, "worker_id": "w", "error": "e", "at": "yesterday"},
        {"attempt": 1, "worker_id": "w", "error": "e", "at": 5},
        {"attempt": 1, "worker_id": "w", "error": "e", "at": "0001-01-01T00:00:00+14:00"},
        {"attempt": 1, "worker_id": "w", "error": "e", "at": LATER.isoformat(), "started_at": []},
    ],
    ids=str,
)
def test_an_entry_that_is_none_is_left_out(entry):
    """The others are told."""
    assert failed_attempts([entry, *noted(None)]) == (FAILURE,)


def test_texts_of_an_entry_are_texts():
    """Whatever stands in the row: the admin cuts and masks them."""
    [told] = failed_attempts([{"attempt": "3", "worker_id": 5, "error": [1], "at": WHEN.isoformat()}])
    assert (told.attempt, told.worker_id, told.error, told.error_class) == (3, "5", "[1]", None)
