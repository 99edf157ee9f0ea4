"""What people and code say of schedules: rules in words, options, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from soniq import cron, daily, every, monthly, weekly
from soniq.errors import InvalidSchedule
from soniq.fire_times import check_rule
from soniq.schedule_records import (
    CONTEXT_KEY,
    Misfire,
    Overlap,
    Schedule,
    ScheduleSpec,
    ScheduleStatus,
    context_of,
    fire_time_in,
)
from soniq.schedule_specs import MAX_NAME, check_name, spec_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


# -- rules in words


def test_intervals_are_timedeltas():
    assert every(30).seconds() == timedelta(seconds=30)
    assert every(5).minutes() == timedelta(minutes=5)
    assert every(1.5).hours() == timedelta(minutes=90)
    assert every(2).days() == timedelta(hours=48)


@pytest.mark.parametrize("count", [0, -1, True, "5", None, float("nan")])
def test_an_interval_of_nothing_is_refused(count):
    with pytest.raises(InvalidSchedule, match=r"above 0, such as every\(5\).minutes\(\)"):
        every(count).minutes()


@pytest.mark.parametrize(
    ("words", "expression"),
    [
        (daily().at("09:00"), "0 9 * * *"),
        (daily().at("9:05"), "5 9 * * *"),
        (daily().at("23:59"), "59 23 * * *"),
        (weekly().at("09:00"), "0 9 * * 1"),
        (weekly().on("monday").at("09:00"), "0 9 * * 1"),
        (weekly().on("Sunday").at("00:30"), "30 0 * * 0"),
        (weekly().on("saturday", "monday", "monday").at("09:00"), "0 9 * * 1,6"),
        (monthly().at("12:00"), "0 12 1 * *"),
        (monthly().on_day(15).at("12:00"), "0 12 15 * *"),
        (monthly().on_day(31).at("12:00"), "0 12 31 * *"),
        (cron("*/15 * * * *"), "*/15 * * * *"),
    ],
)
def test_words_are_cron_expressions(words, expression):
    assert words == expression
    check_rule(words, None, "UTC")


@pytest.mark.parametrize("time", ["24:00", "9", "09:60", "9am", " 09:00", "", None, 9])
def test_what_is_no_time_of_day_is_refused(time):
    for words in (daily(), weekly(), monthly()):
        with pytest.raises(InvalidSchedule, match="hours and minutes, such as '09:00'"):
            words.at(time)


def test_days_that_no_week_or_month_has_are_refused():
    for day in ("mon", "", 1, None):
        with pytest.raises(InvalidSchedule, match="no weekday: give one of sunday"):
            weekly().on(day)
    with pytest.raises(InvalidSchedule, match=r"such as on\('monday'\)"):
        weekly().on()
    for day in (0, 32, -1, "15", 1.0, True):
        with pytest.raises(InvalidSchedule, match="a whole number from 1 to 31"):
            monthly().on_day(day)


def test_a_cron_expression_is_checked_where_it_is_written():
    with pytest.raises(InvalidSchedule, match="Bad hour"):
        cron("0 25 * * *")


def test_words_without_a_time_are_no_rule():
    with pytest.raises(InvalidSchedule, match="a text of five fields"):
        check_rule(daily(), None, "UTC")


# -- options


def spec(**options):
    about = {"name": "s", "job_name": "j", "args_json": "{}", "queue": None, "priority": None}
    own = {name: options.pop(name) for name in list(options) if name in about}
    rule = {} if "every" in options else {"cron": "0 3 * * *"}
    return spec_of({**rule, **options}, **{**about, **own}, timezone="Europe/Berlin")


def test_what_is_left_out_has_its_default():
    assert spec() == ScheduleSpec(name="s", job_name="j", cron="0 3 * * *", timezone="Europe/Berlin")


def test_options_are_stored_in_one_form():
    start = datetime(2026, 3, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    said = spec(
        every=timedelta(minutes=5),
        timezone=ZoneInfo("America/New_York"),
        starts_at=start,
        ends_at=start + timedelta(days=1),
        misfire="all",
        max_age=timedelta(hours=1),
        overlap="skip",
        jitter=30,
    )

    assert (said.every, said.cron, said.timezone) == (300.0, None, "America/New_York")
    assert said.starts_at == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert said.starts_at.tzinfo is said.ends_at.tzinfo is UTC
    assert (said.misfire, said.max_age, said.overlap, said.jitter) == (
        Misfire.ALL,
        3600.0,
        Overlap.SKIP,
        30.0,
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timezone": "Mars/Phobos"}, "timezone is 'Mars/Phobos'"),
        ({"timezone": UTC}, "timezone is"),
        ({"misfire": "never"}, "misfire is 'never': give 'once' or 'skip' or 'all'"),
        ({"misfire": None}, "misfire is None"),
        ({"overlap": True}, "overlap is True: give 'allow' or 'skip'"),
        ({"jitter": -1}, "jitter is -1"),
        ({"jitter": None}, "jitter is None"),
        ({"max_age": "1h"}, "max_age is '1h'"),
        ({"max_age": timedelta(seconds=-1)}, "max_age is -1.0"),
        ({"starts_at": datetime(2026, 1, 1)}, "starts_at is .*an aware datetime"),  # noqa: DTZ001  # naive on purpose
        ({"ends_at": "2026-01-01"}, "ends_at is '2026-01-01'"),
        ({"starts_at": NOW, "ends_at": NOW - timedelta(seconds=1)}, "is before starts_at"),
        ({"name": ""}, "no name of a schedule"),
    ],
)
def test_an_impossible_option_is_refused_with_its_value(options, says):
    with pytest.raises(InvalidSchedule, match=says):
        spec(**options)


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\x00", "x" * (MAX_NAME + 1), None, 5])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(InvalidSchedule, match="printable characters"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "shop.jobs.make.<locals>.report", "Täglich um 9", "x" * MAX_NAME])
def test_names_may_say_what_people_read(name):
    assert check_name(name) == name


# -- what is stored


def stored(**fields):
    usual = {"name": "s", "job_name": "j", "cron": "0 3 * * *", "version": 1}
    return Schedule(**{**usual, "anchor_at": NOW, "created_at": NOW, "updated_at": NOW, **fields})


def test_a_schedule_says_where_it_stands():
    assert stored(next_fire_at=NOW).status is ScheduleStatus.ACTIVE
    assert stored(paused=True).status is ScheduleStatus.PAUSED
    assert stored().status is ScheduleStatus.ENDED


def test_a_schedule_as_a_dict_has_what_people_want_to_know():
    row = stored(args_json='{"n": 1}', next_fire_at=NOW).to_dict()

    assert (row["name"], row["args"], row["status"], row["misfire"]) == ("s", {"n": 1}, "active", "once")
    assert row.keys().isdisjoint({"args_json", "version", "definition", "former_definitions"})


def test_arguments_that_are_no_json_are_shown_as_they_stand():
    assert stored(args_json="{oops").args == "{oops"
    assert stored(args_json="[" * 100_000).to_dict()["args"] == "[" * 100_000


def test_a_job_knows_the_fire_time_that_it_stands_for():
    assert fire_time_in(context_of("s", NOW)) == NOW
    assert fire_time_in(context_of("s", None)) is None


@pytest.mark.parametrize(
    "context",
    [None, {}, [], "x", {CONTEXT_KEY: None}, {CONTEXT_KEY: {}}, {CONTEXT_KEY: {"fire_at": "soon"}}],
)
def test_a_job_of_no_schedule_stands_for_no_fire_time(context):
    assert fire_time_in(context) is None
