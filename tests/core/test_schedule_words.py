"""Rules in words say what the rule says, and nothing that it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest

from soniq.fire_times import fire_times
from soniq.schedule_records import ScheduleSpec
from soniq.schedule_words import rule_in_words


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 3 * * *", "every day at 03:00"),
        ("30 9,17 * * *", "every day at 09:30 and 17:30"),
        ("0 9 * * 1,4", "every Monday and Thursday at 09:00"),
        ("0 9 * * 7", "every Sunday at 09:00"),
        ("5 9 * * 1-5", "Monday to Friday at 09:05"),
        ("0 12 15 * *", "on day 15 of each month at 12:00"),
        ("0 12 1,10,20 * *", "on days 1, 10 and 20 of each month at 12:00"),
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("*/1 * * * *", "every minute"),
        ("5 * * * *", "every hour at :05"),
        ("0,30 * * * *", "every hour at :00 and :30"),
    ],
)
def test_usual_cron_rules_have_words(cron: str, words: str) -> None:
    assert rule_in_words(cron, None) == words


@pytest.mark.parametrize(
    "cron",
    [
        "*/7 * * * *",  # not every 7 minutes: 56, and then 0
        "0 3 1 * 1",
        "0 3 * 6 *",
        "0 3 * * 1#2",
        "0 3 L * *",
        "0 3-5 * * *",
        "0,30 3 * * *",
        "0 3 * * MON",
        "0 0,1,2,3,4 * * *",
        "* 3 * * *",
        "*/0 * * * *",
        "no rule",
        "",
    ],
)
def test_others_are_shown_as_they_are_written(cron: str) -> None:
    assert rule_in_words(cron, None) == cron


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1.0, "every second"),
        (1.5, "every 1.5 seconds"),
        (90.0, "every 90 seconds"),
        (60.0, "every minute"),
        (300.0, "every 5 minutes"),
        (7200.0, "every 2 hours"),
        (86_400.0, "every day of 24 hours"),
        (1_209_600.0, "every 14 days of 24 hours"),
    ],
)
def test_intervals_are_told_in_their_largest_unit(seconds: float, words: str) -> None:
    assert rule_in_words(None, seconds) == words


@pytest.mark.parametrize(
    ("cron", "days"),
    [("0 9 * * 0", {6}), ("0 9 * * 7", {6}), ("0 9 * * 1,4", {0, 3}), ("0 9 * * 1-5", {0, 1, 2, 3, 4})],
)
def test_weekdays_are_those_on_which_the_rule_fires(cron: str, days: set[int]) -> None:
    """Words and fire times are made by different code; both know the days by their numbers."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    spec = ScheduleSpec(name="x", job_name="x", cron=cron)
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

    fired = {time.weekday() for time in islice(fire_times(spec, start, start), 14)}

    assert fired == days
    words = rule_in_words(cron, None)
    if "to" not in words.split():
        assert {names.index(name) for name in names if name in words} == days
