"""django-celery-beat's one-off tasks become delayed jobs, its other schedules become schedules."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from soniq_django.conf import current_app
from soniq_django.models import Job, Schedule
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


@pytest.fixture
def nightly(beat):
    """Makes a schedule at three in Berlin."""

    def make(name="nightly", *, crontab=None, **options):
        tab = {"minute": "0", "hour": "3", "timezone": "Europe/Berlin", **(crontab or {})}
        tab = beat.CrontabSchedule.objects.get_or_create(**tab)[0]
        return beat.PeriodicTask.objects.create(
            **{"name": name, "task": SEND, "crontab": tab, "args": "[1]", **options}
        )

    return make


def test_schedules_become_schedules_once(beat, nightly, run_import, stored):
    nightly(kwargs='{"note": "x"}', queue="emails", priority=9, expires=WHEN)
    last = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)
    often = beat.IntervalSchedule.objects.create(every=5, period="minutes")
    beat.PeriodicTask.objects.create(name="often", task=SEND, interval=often, args="[2]", last_run_at=last)
    before = beat.PeriodicTasks.last_change()
    dry = run_import("celery_beat", "--dry-run")
    assert "schedules of django-celery-beat: 2 would be moved" in dry.said
    assert not Schedule.objects.exists()

    ran = run_import("celery_beat")

    assert (ran.code, stored()) == (0, [])
    assert "schedules of django-celery-beat: 2 moved" in ran.said
    one, two = Schedule.objects.order_by("name")
    assert (one.name, one.job_name, one.cron, one.timezone) == ("nightly", SEND, "0 3 * * *", "Europe/Berlin")
    assert json.loads(one.args_json) == {"order_id": 1, "note": "x"}
    assert (one.queue, one.priority, one.ends_at) == ("emails", 91, WHEN)
    assert (two.every, two.queue, two.priority) == (300.0, None, None)
    assert (two.next_fire_at - last) % timedelta(minutes=5) == timedelta(0)  # in step with what ran there
    assert not beat.PeriodicTask.objects.filter(enabled=True).exists()
    assert beat.PeriodicTasks.last_change() > before
    assert "schedules of django-celery-beat: 0 moved" in run_import("celery_beat").said


def test_what_celery_adds_by_itself_and_what_is_switched_off_is_left_alone(nightly, run_import):
    nightly("celery.backend_cleanup", task="celery.backend_cleanup")
    nightly("off", enabled=False)
    assert run_import("celery_beat").code == 0
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"one_off": True}, "it runs once"),
        ({"expire_seconds": 60}, "its tasks expire"),
        ({"task": "shop.tasks.gone"}, "no job named 'shop.tasks.gone' is registered"),
        ({"args": "{"}, "Expecting"),
        ({"priority": 200}, "priority is 200"),
        ({"crontab": {"day_of_month": "13", "day_of_week": "fri"}}, "days that are both"),
        ({"crontab": {"hour": "22-6"}}, "cron is '0 22-6 * * *'"),
        ({"name": " spaces around "}, "no name of a schedule"),
        ({"name": "taken"}, "there is a schedule 'taken' already"),
    ],
)
def test_schedules_that_cannot_be_moved_are_listed_and_go_on(options, reason, beat, nightly, run_import):
    current_app().scheduler.add_now(SEND, name="taken", every=60, args={"order_id": 1})
    nightly(**options)
    ran = run_import("celery_beat")
    assert (ran.code, Schedule.objects.count()) == (1, 1)
    assert reason in ran.said
    assert beat.PeriodicTask.objects.get().enabled


def test_schedules_by_the_sun_and_too_short_ones_stay(beat, run_import):
    sun = beat.SolarSchedule.objects.create(
        event="sunrise", latitude=Decimal("52.5"), longitude=Decimal("13.4")
    )
    short = beat.IntervalSchedule.objects.create(every=1000, period="microseconds")
    make = beat.PeriodicTask.objects.create
    make(name="rise", task=SEND, solar=sun, args="[1]")
    make(name="short", task=SEND, interval=short, args="[1]")
    ran = run_import("celery_beat")
    assert (ran.code, Schedule.objects.count()) == (1, 0)
    assert "it goes by the sun (sunrise)" in ran.said
    assert "every is 0.001" in ran.said
