"""What becomes of schedules: what people change, what code declares, and who wins."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from soniq.jobs import NewJob
from soniq.schedule_changes import (
    CONFIRM_EVERY,
    FORSAKEN_AFTER,
    MOST_FORMER,
    RETIRE_AFTER,
    add,
    declare,
    definition,
    fire,
    pause,
    remove,
    resume,
    retire,
    run_now,
)
from soniq.schedule_policy import Firing
from soniq.schedule_records import Misfire, ScheduleChange, ScheduleSpec, ScheduleStatus

NOW = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
LONG = timedelta(seconds=RETIRE_AFTER)


def spec(**fields):
    rule = {} if "every" in fields else {"cron": "0 * * * *"}
    return ScheduleSpec(**{"name": "s", "job_name": "j", **rule, **fields})


def job():
    return NewJob(id="1", job_name="j", args_json="{}", queue="default", priority=100, max_attempts=1)


def added(now=NOW, **fields):
    return add(spec(**fields), None, now).becomes


def declared(now=NOW, **fields):
    return declare(spec(**fields), None, now).becomes


def changed(change, known):
    """What a change makes of a schedule that it has seen."""
    assert (change.name, change.seen) == (known.name, known.version)
    assert change.becomes.version > known.version
    return change.becomes


# -- added at run time


def test_a_new_schedule_fires_next_by_its_rule_from_now_on():
    change = add(spec(), None, NOW)

    assert (change.name, change.seen, change.jobs) == ("s", None, ())
    made = change.becomes
    assert made.next_fire_at == NOW.replace(hour=1, minute=0)
    assert (made.created_at, made.updated_at, made.anchor_at) == (NOW, NOW, NOW)
    assert (made.fired, made.skipped) == (0, 0)
    assert {made.declared, made.overridden, made.paused} == {False}


def test_an_interval_fires_first_after_one_interval_or_at_its_start():
    assert added(every=60.0).next_fire_at == NOW + timedelta(minutes=1)
    start = NOW + HOUR
    assert added(every=60.0, starts_at=start).next_fire_at == start
    before = NOW - timedelta(seconds=90)
    assert added(every=60.0, starts_at=before).next_fire_at == NOW + timedelta(seconds=30)


def test_adding_the_same_again_changes_nothing():
    """So a program may do so each time it starts, and an interval does not drift."""
    made = added(every=60.0, args_json='{"n": 1}')
    assert add(spec(every=60.0, args_json='{"n": 1}'), made, NOW + HOUR) is None


def test_another_rule_counts_from_now_on():
    made = added(every=60.0)
    later = changed(add(spec(every=300.0), made, NOW + HOUR), made)

    assert (later.every, later.anchor_at) == (300.0, NOW + HOUR)
    assert later.next_fire_at == NOW + HOUR + timedelta(minutes=5)
    assert (later.created_at, later.updated_at) == (NOW, NOW + HOUR)
    assert not later.overridden


def test_other_options_leave_the_fire_times_as_they_are():
    made = added(every=60.0)
    later = changed(add(spec(every=60.0, queue="mail", misfire=Misfire.ALL), made, NOW + HOUR), made)

    assert (later.queue, later.misfire) == ("mail", Misfire.ALL)
    assert (later.anchor_at, later.next_fire_at) == (made.anchor_at, made.next_fire_at)


def test_a_paused_schedule_that_is_changed_stays_paused():
    made = added()
    paused = changed(pause(made, NOW), made)
    later = changed(add(spec(cron="5 * * * *"), paused, NOW), paused)

    assert (later.cron, later.paused, later.next_fire_at) == ("5 * * * *", True, None)


def test_a_fire_time_never_comes_twice_even_if_the_clock_was_set_back():
    made = replace(added(), last_fire_at=NOW + HOUR)
    later = changed(add(spec(cron="*/10 * * * *"), made, NOW), made)

    assert later.next_fire_at == NOW + HOUR + timedelta(minutes=10)


def test_a_schedule_that_is_added_anew_is_told_from_the_one_that_was_removed():
    old = added()
    for number in range(100):
        old = changed(fire(old, Firing((), number, None), [], NOW), old)
    assert remove(old) == ScheduleChange(name="s", seen=old.version, becomes=None)

    assert added(NOW + timedelta(milliseconds=1)).version > old.version


# -- pausing


def test_a_paused_schedule_has_no_next_fire_time_until_it_is_resumed():
    made = added()
    paused = changed(pause(made, NOW), made)
    assert (paused.status, paused.next_fire_at) == (ScheduleStatus.PAUSED, None)
    assert pause(paused, NOW) is None

    resumed = changed(resume(paused, NOW + 5 * HOUR), paused)
    assert (resumed.status, resumed.skipped) == (ScheduleStatus.ACTIVE, 0)
    assert resumed.next_fire_at == NOW.replace(hour=6, minute=0)
    assert resume(resumed, NOW) is None


def test_a_paused_interval_keeps_its_anchor():
    made = added(every=3600.0)
    paused = changed(pause(made, NOW), made)
    resumed = changed(resume(paused, NOW + timedelta(minutes=90)), paused)
    assert resumed.next_fire_at == NOW + 2 * HOUR


# -- firing


def test_firing_moves_the_schedule_on_with_its_jobs():
    made = added()
    times = (NOW + HOUR, NOW + 2 * HOUR)
    change = fire(made, Firing(times, 3, NOW + 3 * HOUR), [job(), job()], NOW + 2 * HOUR)
    after = changed(change, made)

    assert change.jobs == (job(), job())
    assert (after.fired, after.skipped) == (2, 3)
    assert (after.last_fire_at, after.next_fire_at) == (NOW + 2 * HOUR, NOW + 3 * HOUR)
    skipped = changed(fire(after, Firing((), 1, None), [], NOW + 4 * HOUR), after)
    assert (skipped.fired, skipped.skipped, skipped.last_fire_at) == (2, 4, NOW + 2 * HOUR)
    assert skipped.status is ScheduleStatus.ENDED


def test_a_run_out_of_turn_leaves_the_fire_times_as_they_are():
    made = added()
    change = run_now(made, job(), NOW)
    after = changed(change, made)

    assert change.jobs == (job(),)
    assert after.fired == 1
    assert (after.next_fire_at, after.last_fire_at) == (made.next_fire_at, None)


# -- declared in code


def test_what_code_declares_becomes_a_schedule():
    made = declared()
    assert (made.declared, made.definition, made.declared_at) == (True, definition(spec()), NOW)
    assert made.next_fire_at == NOW.replace(hour=1, minute=0)


def test_a_declaration_is_confirmed_now_and_then():
    made = declared()
    soon = NOW + timedelta(seconds=CONFIRM_EVERY - 1)
    assert declare(spec(), made, soon) is None

    later = NOW + timedelta(seconds=CONFIRM_EVERY)
    confirmed = changed(declare(spec(), made, later), made)
    assert confirmed.declared_at == later
    assert confirmed.next_fire_at == made.next_fire_at


def test_a_rule_that_changed_in_the_code_changes_the_schedule():
    made = declared()
    later = changed(declare(spec(cron="5 * * * *"), made, NOW), made)

    assert (later.cron, later.next_fire_at) == ("5 * * * *", NOW.replace(minute=35) + timedelta(minutes=30))
    assert later.former_definitions == (made.definition,)


def test_a_paused_declaration_stays_paused_when_the_code_changes():
    made = declared()
    paused = changed(pause(made, NOW), made)
    later = changed(declare(spec(cron="5 * * * *"), paused, NOW), paused)
    assert (later.cron, later.paused, later.next_fire_at) == ("5 * * * *", True, None)


def test_an_interval_keeps_its_fire_times_when_something_else_changes_in_the_code():
    made = declared(every=60.0)
    later = changed(declare(spec(every=60.0, queue="mail"), made, NOW + HOUR), made)
    assert (later.queue, later.anchor_at, later.next_fire_at) == ("mail", made.anchor_at, made.next_fire_at)


def test_what_somebody_has_overridden_the_code_changes_no_more():
    made = declared()
    overridden = changed(add(spec(cron="7 * * * *"), made, NOW), made)
    assert overridden.overridden

    new_code = spec(cron="5 * * * *", queue="mail")
    later = changed(declare(new_code, overridden, NOW), overridden)
    assert (later.cron, later.queue, later.overridden) == ("7 * * * *", None, True)
    assert later.definition == definition(new_code)
    assert later.next_fire_at == overridden.next_fire_at


def test_a_schedule_made_at_run_time_is_taken_over_by_code_that_declares_it():
    made = added()
    taken = changed(declare(spec(), made, NOW), made)
    assert (taken.declared, taken.overridden, taken.declared_at) == (True, False, NOW)

    own = added(cron="7 * * * *")
    kept = changed(declare(spec(), own, NOW), own)
    assert (kept.cron, kept.declared, kept.overridden) == ("7 * * * *", True, True)


# -- releases side by side


def test_an_older_release_lets_the_newer_one_stand():
    """However often its workers start again."""
    old, new = spec(cron="3 * * * *"), spec(cron="4 * * * *")
    first = declare(old, None, NOW).becomes
    second = changed(declare(new, first, NOW), first)

    assert declare(old, second, NOW + timedelta(seconds=FORSAKEN_AFTER - 1)) is None
    assert declare(new, second, NOW) is None


def test_a_release_that_was_taken_back_gives_way_once_nobody_confirms_it():
    old, new = spec(cron="3 * * * *"), spec(cron="4 * * * *")
    first = declare(old, None, NOW).becomes
    second = changed(declare(new, first, NOW), first)
    silent = NOW + timedelta(seconds=FORSAKEN_AFTER)

    third = changed(declare(old, second, silent), second)
    assert (third.cron, third.declared_at) == ("3 * * * *", silent)
    assert third.former_definitions == (definition(new),)
    assert declare(new, third, silent) is None


def test_only_so_many_former_definitions_are_kept():
    made = declared()
    for minute in range(MOST_FORMER + 5):
        made = changed(declare(spec(cron=f"{minute} 1 * * *"), made, NOW), made)
    assert len(made.former_definitions) == MOST_FORMER
    assert made.former_definitions[-1] == definition(spec(cron=f"{MOST_FORMER + 3} 1 * * *"))


# -- declared no more


def test_what_no_code_declares_any_more_is_removed_in_the_end():
    made = declared()
    assert retire(made, (), NOW + LONG - timedelta(seconds=1)) is None
    assert retire(made, ("s",), NOW + LONG) is None
    assert retire(made, (), NOW + LONG) == remove(made)


def test_what_people_have_touched_or_made_is_never_removed_by_itself():
    made = declared()
    paused = changed(pause(made, NOW), made)
    overridden = changed(add(spec(cron="7 * * * *"), made, NOW), made)

    for one in (paused, overridden, added()):
        assert retire(one, (), NOW + 10 * LONG) is None


def test_a_declaration_that_was_never_confirmed_counts_as_silent():
    """As a row edited by hand may be."""
    unknown = replace(declared(), declared_at=None)
    assert retire(unknown, (), NOW) == remove(unknown)


@pytest.mark.parametrize(
    "other",
    [
        {"job_name": "k"},
        {"args_json": '{"n": 1}'},
        {"queue": "mail"},
        {"priority": 1},
        {"cron": "1 * * * *"},
        {"timezone": "Europe/Berlin"},
        {"starts_at": NOW},
        {"ends_at": NOW},
        {"misfire": Misfire.ALL},
        {"max_age": 1.0},
        {"jitter": 1.0},
        {"every": 60.0},
    ],
)
def test_a_definition_tells_all_that_is_wanted_apart(other):
    assert definition(spec(**other)) != definition(spec())
    assert definition(spec(**other)) == definition(spec(**other))
