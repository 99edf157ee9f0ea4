"""Schedules in a Django project: settings, the worker's options, transactions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections, transaction
from django.db.models import F
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import soniq_django
from soniq import Soniq
from soniq.schedule_records import ScheduleFilter
from soniq_django.conf import app_on, read_settings
from soniq_django.management.commands.soniq_worker import child_command
from soniq_django.models import Job, Schedule
from tests.support.vendors import ALIASES, POSTGRES
from tests.yard.jobs import noop

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

EVERY_HOUR = timedelta(hours=1)


def add_due(app: Soniq, alias: str, name: str = "hourly", **options) -> Schedule:
    """A schedule of a job that does nothing; its time has come."""
    app.scheduler.add_now(noop, name=name, every=EVERY_HOUR, **options)
    rows = Schedule.objects.using(alias).filter(name=name)
    rows.update(next_fire_at=F("anchor_at"))
    return rows.get()


# -- settings


def test_schedules_go_by_the_projects_time_zone(settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    assert app_on(None, read_settings()).settings.timezone == "Europe/Berlin"
    settings.SONIQ = {"TIMEZONE": "America/New_York"}
    assert app_on(None, read_settings()).settings.timezone == "America/New_York"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"SCHEDULER": "no"}, "SCHEDULER is 'no': give True or False"),
        ({"TIMEZONE": "Europe/Berln"}, "did you mean 'Europe/Berlin'"),
    ],
)
def test_settings_that_cannot_be_are_refused(given, message) -> None:
    with pytest.raises(ImproperlyConfigured, match=message), override_settings(SONIQ=given):
        read_settings()


# -- the worker


def work(*arguments: str) -> None:
    call_command("soniq_worker", "--run-once", "--verbosity=0", *arguments, stdout=StringIO())


def test_a_worker_fires_what_is_due_and_runs_it(app: Soniq, alias: str) -> None:
    add_due(app, alias)

    work("--scheduler")

    assert [job.status for job in Job.objects.using(alias).all()] == ["done"]
    schedule = Schedule.objects.using(alias).get(name="hourly")
    assert (schedule.fired, schedule.skipped) == (1, 0)
    assert schedule.next_fire_at > app.backend.now()
    assert str(schedule.last_job_id) == str(Job.objects.using(alias).get().pk)


@pytest.mark.parametrize("arguments", [(), ("--no-scheduler",)])
def test_a_worker_that_is_not_to_fire_does_not(app: Soniq, alias: str, arguments) -> None:
    add_due(app, alias)

    work(*arguments)

    assert Schedule.objects.using(alias).get(name="hourly").fired == 0
    assert not Job.objects.using(alias).exists()


@pytest.mark.parametrize(
    ("given", "passed"), [(None, set()), (True, {"--scheduler"}), (False, {"--no-scheduler"})]
)
def test_the_workers_of_a_supervisor_get_the_same_option(monkeypatch, given, passed) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
    names = ("concurrency", "queues", "max_jobs", "max_memory", "metrics_port")
    options = {**dict.fromkeys(names), "verbosity": 1, "run_once": False, "scheduler": given}
    command, _ = child_command(options)
    assert {part for part in command if part.endswith("scheduler")} == passed


# -- transactions


def test_a_schedule_that_is_rolled_back_never_was(app: Soniq, alias: str) -> None:
    with transaction.atomic(using=alias):
        app.scheduler.add_now(noop, name="hourly", every=EVERY_HOUR)
        app.scheduler.run_now("hourly")
        assert Job.objects.using(alias).count() == 1
        transaction.set_rollback(True, using=alias)

    assert not Schedule.objects.using(alias).exists()
    assert not Job.objects.using(alias).exists()


def test_a_schedule_that_is_there_already_is_changed_within_the_transaction(app: Soniq, alias: str) -> None:
    with transaction.atomic(using=alias):
        app.scheduler.add_now(noop, name="hourly", every=EVERY_HOUR)
        app.scheduler.add_now(noop, name="hourly", every=60)
        app.scheduler.pause_now("hourly")

    schedule = app.scheduler.get_now("hourly")
    assert (schedule.every, schedule.paused) == (60.0, True)


@pytest.mark.parametrize("alias", POSTGRES)
def test_a_job_that_a_schedule_made_wakes_a_worker(app: Soniq, alias: str) -> None:
    """After the commit, like any enqueue's."""
    add_due(app, alias)
    timetable = app.timetable()
    sent = []
    backend = app.backend
    backend.hint, before = lambda queues: (sent.extend(queues), before(queues)), backend.hint

    timetable.fire(ScheduleFilter())

    assert sent == ["default"]


# -- what it costs


@pytest.mark.parametrize("alias", ALIASES)
def test_a_visit_with_nothing_due_is_one_statement_along_an_index(app: Soniq, alias: str) -> None:
    for number in range(200):
        app.scheduler.add_now(noop, name=f"s{number}", every=EVERY_HOUR)
    app.scheduler.pause_now("s7")
    timetable = app.timetable()
    timetable.visit()  # which also declares what the code does

    with CaptureQueriesContext(connections[alias]) as asked:
        assert timetable.visit() > 0

    assert len(asked) == 1


def test_the_default_app_has_a_scheduler() -> None:
    assert soniq_django.soniq.scheduler.list_now() == []


# -- the table


def test_a_row_made_by_hand_has_its_defaults(app: Soniq, alias: str) -> None:
    """It is paused in effect: it has no next fire time until somebody resumes it."""
    Schedule.objects.using(alias).create(name="x", job_name=noop.name, every=60, paused=True)

    schedule = app.scheduler.get_now("x")
    assert abs(schedule.anchor_at - app.backend.now()) < timedelta(seconds=30)
    assert schedule.created_at.utcoffset() == timedelta()
    assert app.scheduler.resume_now("x")
    assert app.scheduler.get_now("x").next_fire_at == schedule.anchor_at + timedelta(seconds=60)


def test_instants_are_asked_for_as_times(app: Soniq, alias: str) -> None:
    schedule = add_due(app, alias)
    rows = Schedule.objects.using(alias)

    assert rows.filter(next_fire_at=schedule.next_fire_at).exists()
    assert rows.filter(next_fire_at__lt=timezone.now()).exists()
    assert not rows.filter(next_fire_at__gt=timezone.now()).exists()
    assert list(rows.values_list("ends_at", "next_fire_at")) == [(None, schedule.next_fire_at)]


def test_schedules_go_through_a_fixture_unharmed(app: Soniq, alias: str) -> None:
    before = add_due(app, alias, ends_at=datetime(2031, 1, 2, 3, 4, 5, 678000, tzinfo=UTC))
    text = serializers.serialize("xml", [before])  # JSON cuts times to milliseconds
    Schedule.objects.using(alias).all().delete()

    [row] = serializers.deserialize("xml", text, using=alias)
    row.save(using=alias)

    after = Schedule.objects.using(alias).get()
    for field in Schedule._meta.fields:
        assert getattr(after, field.name) == getattr(before, field.name), field.name
