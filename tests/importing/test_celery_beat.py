"""django-celery-beat's one-off tasks become delayed jobs, its other schedules are told."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from soniq_django.models import Job
from tests.importing.conftest import drop_tables, installed, make_tables
from tests.importing.jobs import SEND

WHEN = datetime(2031, 5, 1, 12, 30, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def tables(reachable, django_db_blocker):
    names = [
        "SolarSchedule",
        "IntervalSchedule",
        "ClockedSchedule",
        "CrontabSchedule",
        "PeriodicTasks",
        "PeriodicTask",
    ]
    with installed("django_celery_beat"):
        make_tables("django_celery_beat", names, ["default"], django_db_blocker)
        yield
        drop_tables("django_celery_beat", names, ["default"], django_db_blocker)


@pytest.fixture
def beat():
    from django_celery_beat import models

    return models


def clocked(beat, name, *, args=(), kwargs=None, **options):
    at = beat.ClockedSchedule.objects.get_or_create(clocked_time=WHEN)[0]
    return beat.PeriodicTask.objects.create(
        name=name,
        clocked=at,
        one_off=True,
        args=json.dumps(list(args)),
        kwargs=json.dumps(kwargs or {}),
        **{"task": SEND, **options},
    )


def test_one_off_tasks_become_delayed_jobs_once(beat, run_import, stored):
    clocked(beat, "first", args=[1])
    clocked(beat, "second", kwargs={"order_id": 2}, queue="emails", priority=9)
    before = beat.PeriodicTasks.last_change()
    ran = run_import("celery_beat")
    assert (ran.code, ran.said.splitlines()[0]) == (0, "one-off tasks of django-celery-beat: 2 moved")
    assert stored() == [
        (SEND, {"order_id": 1}, "default", 100),
        (SEND, {"order_id": 2}, "emails", 91),
    ]
    assert {job.scheduled_at for job in Job.objects.all()} == {WHEN}
    assert not beat.PeriodicTask.objects.filter(enabled=True).exists()
    assert beat.PeriodicTasks.last_change() > before  # by which a running beat learns of it
    assert "0 moved" in run_import("celery_beat").said


def test_what_is_switched_off_stays_so(beat, run_import, stored):
    clocked(beat, "off", args=[1], enabled=False)
    assert run_import("celery_beat").code == 0
    assert stored() == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"expires": WHEN}, "it expires"),
        ({"expire_seconds": 60}, "it expires"),
        ({"priority": 200}, "priority is 200"),
        ({"task": "shop.tasks.gone"}, "no job named 'shop.tasks.gone' is registered"),
    ],
)
def test_what_cannot_be_moved_is_listed_and_goes_on_there(options, reason, beat, run_import, stored):
    clocked(beat, "odd", args=[1], **options)
    ran = run_import("celery_beat")
    assert (ran.code, stored()) == (1, [])
    assert reason in ran.said
    assert beat.PeriodicTask.objects.get().enabled


def test_damaged_arguments_are_listed(beat, run_import):
    task = clocked(beat, "odd")
    for text in ("{", "1", "[1"):
        beat.PeriodicTask.objects.filter(pk=task.pk).update(args=text)
        assert run_import("celery_beat").code == 1


def test_recurring_schedules_are_told_and_left(beat, run_import, stored):
    tab = beat.CrontabSchedule.objects.create(minute="0", hour="3", timezone="Europe/Berlin")
    often = beat.IntervalSchedule.objects.create(every=5, period="minutes")
    sun = beat.SolarSchedule.objects.create(
        event="sunrise", latitude=Decimal("52.5"), longitude=Decimal("13.4")
    )
    make = beat.PeriodicTask.objects.create
    make(name="nightly", task=SEND, crontab=tab, args="[1]", kwargs='{"note": "x"}')
    make(name="often", task=SEND, interval=often, args="{", enabled=False)
    make(name="rise", task=SEND, solar=sun)
    ran = run_import("celery_beat")
    assert (ran.code, stored()) == (0, [])
    assert f"nightly: {SEND}(1, note='x') by cron '0 3 * * *' in Europe/Berlin" in ran.said
    assert f"often: {SEND}(?) every 5 minutes (switched off)" in ran.said
    assert f"rise: {SEND}() at sunrise, 52.5" in ran.said
