"""Projects with ``USE_TZ = False`` and a TIME_ZONE that is not UTC.

The rest of this file runs in a process of its own, on databases of its own, with those settings, and so
do the tests of the contract that have to do with time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import connections
from django.utils import timezone

from soniq.errors import InvalidEnqueue
from soniq.jobs import ClaimRequest
from soniq.schedule_records import ScheduleFilter, fire_time_in
from soniq_django.functions import DatabaseNow
from soniq_django.models import Job, Schedule
from soniq_django.testing.clock import clock
from tests.support.vendors import SQLITE
from tests.yard.jobs import noop

OF_THE_CONTRACT = (
    "delay or instant or times or its_time or earliest or silent or once_their or beside or schedule or clock"
)
local = pytest.mark.skipif(settings.USE_TZ, reason="runs in a process with USE_TZ = False")


@pytest.mark.slow
@pytest.mark.skipif(not settings.USE_TZ, reason="starts that process")
def test_everything_about_time_holds_in_local_time() -> None:
    """The contract's tests of time, and those below, pass with USE_TZ = False."""
    environment = {name: value for name, value in os.environ.items() if name != "SONIQ_TEST_RUN"}
    process = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            "--ds=tests.settings_local_time",
            *("-k", f"test_local_time or ({OF_THE_CONTRACT})"),
            "tests/django/test_conformance.py",
            "tests/django/test_local_time.py",
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stdout[-8000:] + process.stderr[-2000:]
    assert "passed" in process.stdout


@local
@pytest.mark.django_db(transaction=True, databases="__all__")
async def test_a_naive_time_is_one_of_the_projects_zone(app) -> None:
    """datetime.now() and Django's timezone.now() are as good as an aware time there."""
    now = datetime.now(UTC)
    jobs = [
        await app.get_job(await noop.using(scheduled_at=when).aenqueue())
        for when in (timezone.now() + timedelta(hours=1), now + timedelta(hours=1))
    ]

    for job in jobs:
        assert abs(job["scheduled_at"] - now - timedelta(hours=1)) < timedelta(seconds=30)
        assert abs(job["created_at"] - now) < timedelta(seconds=30)


@local
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_claim_has_aware_times(app) -> None:
    """Whatever the columns hold, handlers see instants."""
    noop.enqueue()
    [claim] = app.backend.claim(ClaimRequest(worker_id="01a203eb-25b7-7d0e-a829-37a947cf3f2f", limit=1))

    for value in (claim.created_at, claim.scheduled_at):
        assert value.utcoffset() is not None
        assert abs(value - datetime.now(UTC)) < timedelta(seconds=30)


@local
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_an_activated_zone_changes_nothing(app, alias) -> None:
    """A request may have activated its user's zone; columns hold that of the project."""
    with timezone.override("Asia/Tokyo"):
        job_id = noop.using(scheduled_at=datetime.now(UTC) + timedelta(hours=1)).enqueue()

    assert app.backend.count_due() == 0
    assert 3500 < app.backend.next_due() < 3700
    due_at = Job.objects.using(alias).get(pk=job_id).scheduled_at
    assert abs(due_at - timezone.now() - timedelta(hours=1)) < timedelta(seconds=30)


@local
@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("cron", ["*/10 * * * *", None])
def test_schedules_fire_in_the_repeated_hour_as_in_any_other(app, alias, cron) -> None:
    """In autumn the clock on the wall shows an hour twice; a column that holds it cannot tell."""
    begin = datetime(2031, 11, 2, 4, 55, tzinfo=UTC)  # 00:55 in New York; from 06:00 on it is 01:00 again
    fire_times = [begin + timedelta(minutes=5 + 10 * number) for number in range(18)]
    with clock.travelling() as move:
        move(begin)
        rule = {"every": 600, "starts_at": fire_times[0]} if cron is None else {"cron": cron}
        app.scheduler.add_now(noop, name="often", misfire="all", **rule)
        timetable = app.timetable()
        for minutes in range(0, 180, 5):
            move(begin + timedelta(minutes=minutes, seconds=1))
            assert app.backend.now() == begin + timedelta(minutes=minutes, seconds=1)
            timetable.fire(ScheduleFilter())
            timetable.fire(ScheduleFilter())

    contexts = Job.objects.using(alias).order_by("id").values_list("context", flat=True)
    assert [fire_time_in(context) for context in contexts] == fire_times
    row = Schedule.objects.using(alias).get()
    assert timezone.is_naive(row.next_fire_at)
    assert Schedule.objects.using(alias).filter(next_fire_at=row.next_fire_at).exists()


@pytest.mark.skipif(not settings.USE_TZ, reason="is about USE_TZ")
@pytest.mark.django_db(transaction=True, databases="__all__")
async def test_with_use_tz_a_naive_time_is_refused(app) -> None:
    """There it is a mistake, as it is for Django's own fields."""
    with pytest.raises(InvalidEnqueue, match="give it a time zone"):
        await noop.using(scheduled_at=datetime(2040, 1, 1)).aenqueue()  # noqa: DTZ001  # the point


@pytest.mark.skipif(not settings.USE_TZ, reason="is about USE_TZ")
@pytest.mark.parametrize("alias", SQLITE)
def test_the_zone_of_a_database_is_that_of_its_clock(alias) -> None:
    """DATABASES may say in which zone a database without zones holds its times."""
    connection = _connection_in("Asia/Tokyo", alias)

    compiled, _ = DatabaseNow().as_sqlite(None, connection)

    assert "'+32400 seconds'" in compiled


def _connection_in(zone: str, alias: str):
    """A wrapper that is not connected, for the database ``alias`` in another zone."""
    wrapper = connections[alias]
    return type(wrapper)({**wrapper.settings_dict, "TIME_ZONE": zone}, alias="elsewhere")
