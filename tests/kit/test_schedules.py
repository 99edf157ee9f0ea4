"""Schedules in a drain: they fire on the way, within the test's own transaction."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

import soniq
from soniq_django.models import Schedule
from soniq_django.testing import adrain_jobs, capture_jobs, drain_jobs

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def times():
    """The fire times that the job was run for."""
    return []


@pytest.fixture
def tick(app, times):
    @app.job(name="kit.tick")
    def tick(ctx: soniq.JobContext) -> None:
        times.append(ctx.scheduled_for)

    return tick


def test_a_drain_ahead_of_time_fires_each_schedule_at_its_times(app, tick, times):
    app.scheduler.add_now(tick, every=timedelta(hours=1))
    begun = datetime.now(UTC)
    summary = drain_jobs(until=timedelta(hours=3, minutes=30), schedules=True)
    assert summary.succeeded == 3
    assert [round((time - begun).total_seconds() / 3600) for time in times] == [1, 2, 3]
    schedule = app.scheduler.get_now("kit.tick")
    assert schedule.fired == 3
    assert schedule.next_fire_at - times[-1] == timedelta(hours=1)


def test_a_drain_fires_nothing_unless_it_is_told_to(app, tick):
    app.scheduler.add_now(tick, every=timedelta(hours=1))
    assert drain_jobs(until=timedelta(days=1)).succeeded == 0
    assert app.scheduler.get_now("kit.tick").fired == 0


def test_what_code_declares_is_stored_and_fired(app):
    @app.periodic(cron="0 3 * * *", name="kit.nightly")
    def nightly() -> str:
        return "done"

    assert drain_jobs(until=timedelta(days=2), schedules=True).succeeded == 2
    assert app.scheduler.get_now("kit.nightly").declared


def test_jobs_and_schedules_come_in_the_order_of_their_times(app):
    seen = []

    @app.job(name="kit.note")
    def note(what: str) -> None:
        seen.append(what)

    app.scheduler.add_now(note, args={"what": "scheduled"}, every=timedelta(hours=1))
    note.using(scheduled_at=timedelta(minutes=90)).enqueue(what="delayed")
    drain_jobs(until=timedelta(hours=2, minutes=1), schedules=True)
    assert seen == ["scheduled", "delayed", "scheduled"]


def test_a_filter_of_jobs_does_not_keep_others_schedules_from_moving_on(app, tick):
    @app.job(name="kit.other")
    def other() -> None: ...

    app.scheduler.add_now(tick, every=timedelta(hours=1))
    app.scheduler.add_now(other, every=timedelta(minutes=30))
    assert drain_jobs(until=timedelta(hours=2, minutes=1), jobs=[tick], schedules=True).succeeded == 2
    assert app.scheduler.get_now("kit.other").fired == 4


def test_fired_jobs_are_captured(app, tick):
    app.scheduler.add_now(tick, every=timedelta(hours=1))
    with capture_jobs() as jobs:
        drain_jobs(until=timedelta(hours=2, minutes=1), schedules=True)
    assert len(jobs) == 2


def test_a_schedule_that_cannot_be_fired_ends_no_drain(app, alias, tick, caplog):
    app.scheduler.add_now(tick, every=timedelta(hours=1))
    Schedule.objects.using(alias).update(timezone="Nowhere", cron="x", every=None)
    with caplog.at_level(logging.ERROR):
        drain_jobs(until=timedelta(hours=2), schedules=True)
    assert "cannot be fired" in caplog.text


async def test_an_async_test_drains_schedules_as_well(async_db, app, tick):
    await app.scheduler.add(tick, every=timedelta(hours=1))
    assert (await adrain_jobs(until=timedelta(hours=2, minutes=1), schedules=True)).succeeded == 2
