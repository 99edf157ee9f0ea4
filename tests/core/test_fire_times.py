"""When rules fire: cron and intervals, where clocks change, and at odd dates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soniq.errors import InvalidSchedule
from soniq.fire_times import check_rule, fire_times, next_fire, preview
from soniq.schedule_records import Schedule, ScheduleSpec

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def at(text, zone="UTC"):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def spec(**fields):
    return ScheduleSpec(name="s", job_name="j", **fields)


def fired(rule, zone, start, end):
    """The fire times of a cron rule within (start, end], as the clock on the wall shows them."""
    first, last = at(start, zone), at(end, zone)
    found = []
    for time in fire_times(spec(cron=rule, timezone=zone), first, first):
        if time > last:
            break
        assert time.tzinfo is UTC
        found.append(time.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z"))
    return found


# -- cron


def test_a_time_of_day_follows_the_clock_on_the_wall_of_its_zone():
    assert fired("0 9 * * *", NEW_YORK, "2026-01-01T00:00", "2026-01-02T12:00") == [
        "01 09:00-0500",
        "02 09:00-0500",
    ]
    winter = next_fire(spec(cron="0 9 * * *", timezone=BERLIN), at("2026-01-01"), at("2026-01-10"))
    summer = next_fire(spec(cron="0 9 * * *", timezone=BERLIN), at("2026-01-01"), at("2026-07-10"))
    assert (winter, summer) == (at("2026-01-10T08:00"), at("2026-07-10T07:00"))


@pytest.mark.parametrize(
    ("zone", "eve", "after", "instead"),
    [
        (BERLIN, "2026-03-28T12:00", "2026-03-31T00:00", "29 03:00+0200"),
        (NEW_YORK, "2026-03-07T12:00", "2026-03-10T00:00", "08 03:00-0400"),
    ],
)
def test_a_time_that_the_clock_jumps_over_fires_once_after_the_jump(zone, eve, after, instead):
    days = fired("30 2 * * *", zone, eve, after)

    assert days[0] == instead
    assert [time[3:8] for time in days[1:]] == ["02:30"]


@pytest.mark.parametrize(
    ("zone", "eve", "after"),
    [(BERLIN, "2026-03-28T12:00", "2026-03-29T23:00"), (NEW_YORK, "2026-03-07T12:00", "2026-03-08T23:00")],
)
def test_times_that_the_clock_jumps_over_onto_another_fire_once(zone, eve, after):
    assert [time[3:8] for time in fired("0,30 2,3 * * *", zone, eve, after)] == ["03:00", "03:30"]


@pytest.mark.parametrize(
    ("zone", "eve", "after"),
    [(BERLIN, "2026-03-28T12:00", "2026-03-29T23:00"), (NEW_YORK, "2026-03-07T12:00", "2026-03-08T23:00")],
)
def test_a_rule_that_repeats_within_the_missing_hour_skips_it(zone, eve, after):
    assert fired("*/10 2 * * *", zone, eve, after) == []


@pytest.mark.parametrize("rule", ["30 2 * * *", "*/30 2 * * *", "0,30 2 * * *", "* 2 * * *"])
@pytest.mark.parametrize(
    ("zone", "midnight", "noon"),
    [
        (BERLIN, "2026-10-25T00:00", "2026-10-25T12:00"),
        (NEW_YORK, "2026-11-01T00:00", "2026-11-01T12:00"),
    ],
)
def test_a_time_that_the_clock_shows_twice_fires_once(rule, zone, midnight, noon):
    rule = rule.replace(" 2 ", " 1 ") if zone == NEW_YORK else rule
    shown = [time[:8] for time in fired(rule, zone, midnight, noon)]

    assert shown
    assert len(shown) == len(set(shown))


def test_a_rule_for_every_hour_fires_in_both_of_the_repeated_hours():
    shown = fired("0 * * * *", BERLIN, "2026-10-25T00:30", "2026-10-25T04:00")

    assert shown == ["25 01:00+0200", "25 02:00+0200", "25 02:00+0100", "25 03:00+0100", "25 04:00+0100"]
    spring = fired("*/30 * * * *", BERLIN, "2026-03-29T01:00", "2026-03-29T03:30")
    assert spring == ["29 01:30+0100", "29 03:00+0200", "29 03:30+0200"]


def test_a_search_that_begins_in_the_second_pass_does_not_find_the_first_again():
    second_pass = at("2026-10-25T00:45")  # 01:45 UTC is 02:45 in Berlin for the second time
    assert next_fire(spec(cron="30 2 * * *", timezone=BERLIN), second_pass, at("2026-10-25T01:10")) == at(
        "2026-10-26T01:30"
    )


@pytest.mark.parametrize(
    ("rule", "start", "times"),
    [
        ("0 12 29 2 *", "2026-01-01", ["2028-02-29T12:00", "2032-02-29T12:00"]),
        ("0 12 31 * *", "2026-01-31T13:00", ["2026-03-31T12:00", "2026-05-31T12:00", "2026-07-31T12:00"]),
        ("0 0 1 1 *", "2026-01-01T00:00", ["2027-01-01T00:00"]),
        ("0 9 * * MON", "2026-11-28", ["2026-11-30T09:00", "2026-12-07T09:00"]),
        ("0 9 L * *", "2026-02-01", ["2026-02-28T09:00", "2026-03-31T09:00"]),
    ],
)
def test_odd_dates_fire_where_the_calendar_has_them(rule, start, times):
    found = fire_times(spec(cron=rule), at(start), at(start))

    assert list(islice(found, len(times))) == [at(time) for time in times]


def test_a_fire_time_is_behind_the_instant_that_is_asked_about():
    rule = spec(cron="*/15 * * * *")
    assert next_fire(rule, at("2026-01-01"), at("2026-01-01T09:00")) == at("2026-01-01T09:15")
    assert next_fire(rule, at("2026-01-01"), at("2026-01-01T09:14:59.999999")) == at("2026-01-01T09:15")
    assert next_fire(rule, at("2026-01-01"), at("2026-01-01T09:15:00.000001")) == at("2026-01-01T09:30")


FIELDS = st.tuples(
    st.sampled_from(["0", "30", "0,30", "*/20", "*", "15-45/15"]),
    st.sampled_from(["*", "0", "1", "2", "3", "1-3", "*/2", "2,3"]),
    st.sampled_from(["*", "25", "29", "*/7"]),
    st.sampled_from(["*", "3,10", "11"]),
    st.sampled_from(["*", "SUN"]),
)
ZONES = st.sampled_from([BERLIN, NEW_YORK, "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu", "UTC"])
NEAR_CHANGES = st.sampled_from(
    ["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"]
)


@settings(deadline=None)
@given(fields=FIELDS, zone=ZONES, day=NEAR_CHANGES, minutes=st.integers(-1500, 1500))
def test_a_fire_time_does_not_depend_on_where_the_search_began(fields, zone, day, minutes):
    rule = spec(cron=" ".join(fields), timezone=zone)
    start = at(day) + timedelta(minutes=minutes)

    walked = list(islice(fire_times(rule, start, start), 12))

    assert walked == sorted(set(walked))
    assert walked[0] > start
    stepped, after = [], start
    while len(stepped) < len(walked):
        after = next_fire(rule, start, after)
        stepped.append(after)
    assert stepped == walked


# -- intervals


def test_an_interval_is_counted_from_its_anchor_wherever_it_is_asked():
    rule, anchor = spec(every=300.0), at("2026-01-01T00:01:30")
    assert next_fire(rule, anchor, anchor) == at("2026-01-01T00:06:30")
    assert next_fire(rule, anchor, at("2026-03-29T12:04:00")) == at("2026-03-29T12:06:30")
    assert next_fire(rule, anchor, at("2026-03-29T12:06:30")) == at("2026-03-29T12:11:30")


def test_an_interval_knows_no_clock_on_the_wall():
    rule = spec(every=86400.0, timezone=BERLIN)
    times = islice(fire_times(rule, at("2026-03-28T09:00", BERLIN), at("2026-03-28T09:00", BERLIN)), 2)
    assert list(times) == [at("2026-03-29T08:00"), at("2026-03-30T08:00")]


def test_a_part_of_a_second_adds_up_exactly():
    rule, anchor = spec(every=1.1), at("2026-01-01")
    times = list(islice(fire_times(rule, anchor, anchor), 1000))
    assert times[-1] == anchor + timedelta(seconds=1100)


# -- bounds


@pytest.mark.parametrize("rule", [{"cron": "0 * * * *"}, {"every": 3600.0}])
def test_a_schedule_fires_from_its_start_to_its_end_both_included(rule):
    bounded = spec(**rule, starts_at=at("2026-01-02T05:00"), ends_at=at("2026-01-02T07:00"))
    anchor = at("2026-01-02T05:00")

    assert [time.hour for time in fire_times(bounded, anchor, at("2026-01-01"))] == [5, 6, 7]
    assert next_fire(bounded, anchor, at("2026-01-02T07:00")) is None


def planned(**fields):
    now = at("2026-01-01T00:30")
    usual = {
        "name": "s",
        "job_name": "j",
        "anchor_at": now,
        "created_at": now,
        "updated_at": now,
        "version": 1,
    }
    return Schedule(**{**usual, **fields})


def test_a_preview_shows_what_is_to_come():
    hourly = planned(cron="0 * * * *", next_fire_at=at("2026-01-01T01:00"))
    assert [time.hour for time in preview(hourly, 3)] == [1, 2, 3]
    assert preview(hourly, 1) == [at("2026-01-01T01:00")]
    assert preview(hourly, 0) == []
    ending = planned(cron="0 * * * *", next_fire_at=at("2026-01-01T01:00"), ends_at=at("2026-01-01T02:30"))
    assert [time.hour for time in preview(ending, 5)] == [1, 2]
    assert preview(planned(cron="0 * * * *", paused=True), 3) == []


# -- what is no rule


@pytest.mark.parametrize(
    ("cron", "every", "says"),
    [
        (None, None, "neither"),
        ("0 3 * * *", 60.0, "both"),
        ("0 3 * *", None, "five fields, such as '0 3"),
        ("0 0 3 * * *", None, "five fields"),
        ("", None, "five fields"),
        (5, None, "cron is 5"),
        ("61 * * * *", None, "Bad minute.*such as '0 3"),
        ("0 3 * * XYZ", None, "Bad day-of-week"),
        ("0 0 30 2 *", None, "Bad day-of-month"),
        ("0 0 */29 * 1#2", None, "no date fulfils"),
        (None, 0.5, "every is 0.5: give 1 or more seconds"),
        (None, -1.0, "every is -1.0"),
        (None, float("inf"), "every is inf"),
        (None, "5 minutes", r"every is '5 minutes'.*every\(5\).minutes\(\)"),
        (None, True, "every is True"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_value_and_an_example(cron, every, says):
    with pytest.raises(InvalidSchedule, match=says):
        check_rule(cron, every, "UTC")


@pytest.mark.parametrize(
    ("zone", "says"),
    [
        ("Europe/Berlni", "did you mean 'Europe/Berlin'"),
        ("europe/berlin ", "did you mean 'Europe/Berlin'"),
        ("berlin", "did you mean 'Europe/Berlin'"),
        ("new york", "did you mean 'America/New_York'"),
        ("xq", "give a name such as 'Europe/Berlin'"),
        ("../etc/passwd", "unknown here"),
        ("", "unknown here"),
        (None, "timezone is None"),
        (5, "timezone is 5"),
        ("Europe", "unknown here"),
    ],
)
def test_an_unknown_time_zone_is_refused_with_the_nearest_one(zone, says):
    with pytest.raises(InvalidSchedule, match=says):
        check_rule("0 3 * * *", None, zone)


def test_a_system_without_time_zones_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    with pytest.raises(InvalidSchedule, match="install the package tzdata"):
        check_rule("0 3 * * *", None, "Europe/Nowhere")
