"""What a schedule owes: fire times that were missed, that overlap, and when their jobs are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soniq.schedule_policy import LATE, MOST_AT_ONCE, Firing, decide, due_at
from soniq.schedule_records import Misfire, Overlap, Schedule

START = datetime(2026, 1, 1, tzinfo=UTC)
FIVE = timedelta(minutes=5)
HOUR = timedelta(hours=1)


def schedule(**fields):
    """Every five minutes from START on, next at five past."""
    usual = {
        "name": "s",
        "job_name": "j",
        "anchor_at": START,
        "next_fire_at": START + FIVE,
        "created_at": START,
        "updated_at": START,
        "version": 1,
    }
    rule = {} if "cron" in fields else {"every": 300.0}
    return Schedule(**{**usual, **rule, **fields})


RULES = pytest.mark.parametrize("rule", [{"every": 300.0}, {"cron": "*/5 * * * *"}], ids=["interval", "cron"])


@RULES
def test_a_schedule_that_is_not_due_owes_nothing(rule):
    one = schedule(**rule)
    assert decide(one, START + FIVE - timedelta(microseconds=1)) == Firing((), 0, START + FIVE)
    assert decide(schedule(**rule, next_fire_at=None), START + HOUR) == Firing((), 0, None)


@RULES
@pytest.mark.parametrize("misfire", Misfire)
def test_a_fire_time_that_is_seen_in_time_runs_whatever_the_policy(rule, misfire):
    now = START + FIVE + timedelta(seconds=LATE)
    assert decide(schedule(**rule, misfire=misfire, max_age=0.0), now) == Firing(
        (START + FIVE,), 0, START + 2 * FIVE
    )


@RULES
def test_after_three_hours_away_one_run_makes_up_for_all(rule):
    """Of 36 fire times the last runs, the others are skipped and counted."""
    back = START + 3 * HOUR + timedelta(minutes=2)

    assert decide(schedule(**rule), back) == Firing((START + 3 * HOUR,), 35, START + 3 * HOUR + FIVE)


@RULES
def test_missed_fire_times_can_all_be_skipped(rule):
    back = START + 3 * HOUR + timedelta(minutes=2)
    one = schedule(**rule, misfire=Misfire.SKIP)

    assert decide(one, back) == Firing((), 36, START + 3 * HOUR + FIVE)
    in_time = decide(one, START + 3 * HOUR + timedelta(seconds=1))
    assert in_time == Firing((START + 3 * HOUR,), 35, START + 3 * HOUR + FIVE)


@RULES
def test_missed_fire_times_can_all_run_oldest_first(rule):
    back = START + HOUR
    firing = decide(schedule(**rule, misfire=Misfire.ALL), back)

    assert firing.fire_times == tuple(START + number * FIVE for number in range(1, 13))
    assert (firing.skipped, firing.next) == (0, START + HOUR + FIVE)


@RULES
def test_no_more_than_a_hundred_runs_are_made_up_for(rule):
    days = START + timedelta(days=2)
    firing = decide(schedule(**rule, misfire=Misfire.ALL), days)

    assert len(firing.fire_times) == MOST_AT_ONCE
    assert firing.fire_times[-1] == days
    assert len(firing.fire_times) + firing.skipped == 2 * 24 * 12
    assert firing.next == days + FIVE


@RULES
@pytest.mark.parametrize(("misfire", "run"), [(Misfire.ALL, 4), (Misfire.ONCE, 1)])
def test_what_was_missed_for_too_long_is_skipped(rule, misfire, run):
    firing = decide(schedule(**rule, misfire=misfire, max_age=15 * 60.0), START + HOUR)
    assert (len(firing.fire_times), firing.skipped) == (run, 12 - run)

    late = START + HOUR + timedelta(minutes=4)
    assert decide(schedule(**rule, misfire=misfire, max_age=60.0), late).fire_times == ()


@RULES
def test_a_run_that_is_still_live_keeps_the_next_from_starting(rule):
    one, now = schedule(**rule, overlap=Overlap.SKIP), START + FIVE

    assert decide(one, now, previous_live=True) == Firing((), 1, START + 2 * FIVE)
    assert decide(one, now, previous_live=False) == Firing((START + FIVE,), 0, START + 2 * FIVE)
    allowed = schedule(**rule, overlap=Overlap.ALLOW)
    assert decide(allowed, now, previous_live=True).fire_times == (START + FIVE,)


def test_runs_that_must_not_overlap_are_not_made_up_for_at_the_same_time():
    firing = decide(schedule(misfire=Misfire.ALL, overlap=Overlap.SKIP), START + HOUR)
    assert (firing.fire_times, firing.skipped) == ((START + HOUR,), 11)


@RULES
def test_a_schedule_that_has_ended_has_no_next_fire_time(rule):
    end = START + HOUR + timedelta(minutes=3)
    firing = decide(schedule(**rule, ends_at=end), START + timedelta(days=30))

    assert firing == Firing((START + HOUR,), 11, None)


@RULES
def test_a_next_fire_time_that_somebody_has_moved_runs_and_the_rule_goes_on(rule):
    moved = START + timedelta(minutes=7)
    assert decide(schedule(**rule, next_fire_at=moved), moved) == Firing((moved,), 0, START + 2 * FIVE)
    assert decide(schedule(**rule, next_fire_at=moved), START + timedelta(minutes=11)) == Firing(
        (START + 2 * FIVE,), 1, START + 3 * FIVE
    )


@given(
    away=st.integers(0, 3 * 10**6),
    first=st.integers(1, 500),
    step=st.integers(1, 4000),
    end=st.none() | st.integers(1, 4 * 10**6),
    misfire=st.sampled_from(Misfire),
)
def test_every_fire_time_of_an_interval_is_either_run_or_counted(away, first, step, end, misfire):
    """However they are counted: as many as one gets by walking."""
    now = START + timedelta(seconds=away)
    due = START + timedelta(seconds=first)
    ends = None if end is None else START + timedelta(seconds=end)
    one = schedule(every=float(step), next_fire_at=due, misfire=misfire, ends_at=ends)

    firing = decide(one, now)

    last = away if end is None else min(away, end)
    walked = 0 if due > now else 1 + max(0, last // step - first // step)
    assert len(firing.fire_times) + firing.skipped == walked
    assert all(due <= time <= now for time in firing.fire_times)
    assert firing.next is None or firing.next > now


# -- when jobs are due


def test_a_job_is_due_at_its_fire_time_or_now_if_that_was_missed():
    one = schedule()
    assert due_at(one, START, START + timedelta(seconds=LATE)) == START
    assert due_at(one, START, START + HOUR) == START + HOUR


def test_jitter_spreads_jobs_the_same_way_whoever_asks():
    one, other = schedule(jitter=60.0), schedule(name="other", jitter=60.0)
    times = [START + number * FIVE for number in range(50)]
    delays = [(due_at(one, time, time) - time).total_seconds() for time in times]

    assert all(0 <= delay < 60 for delay in delays)
    assert max(delays) > 40
    assert min(delays) < 20
    assert delays == [(due_at(one, time, time) - time).total_seconds() for time in times]
    assert delays != [(due_at(other, time, time) - time).total_seconds() for time in times]
