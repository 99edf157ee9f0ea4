"""One now for Python, for the stores and for jobs that run ahead of it."""

from __future__ import annotations

import datetime as dt
from datetime import timedelta

import freezegun
import pytest
import time_machine
from django.utils import timezone

import soniq
from soniq.testing import make_app
from soniq_django.models import DeadLetterJob, Job
from soniq_django.testing import TestEnvironment, assert_enqueued, drain_jobs, testing_mode
from soniq_django.testing.clock import TestClock

pytestmark = pytest.mark.django_db(databases="__all__")

PAST = dt.datetime(2020, 2, 29, 12, tzinfo=dt.UTC)
FUTURE = dt.datetime(2099, 2, 28, 12, tzinfo=dt.UTC)


def test_scheduled_jobs_run_in_the_order_of_their_times(app):
    ran = []

    @app.job
    def note(name):
        ran.append((name, round((timezone.now() - began).total_seconds() / 3600)))

    began = timezone.now()
    note.using(scheduled_at=timedelta(hours=2)).enqueue(name="two")
    note.using(scheduled_at=began + timedelta(hours=1)).enqueue(name="one")
    note.using(scheduled_at=timedelta(hours=3)).enqueue(name="three")
    note.enqueue(name="now")

    summary = drain_jobs(until=timedelta(hours=2))

    assert ran == [("now", 0), ("one", 1), ("two", 2)]
    assert (summary.succeeded, summary.waiting) == (3, 1)
    assert abs(timezone.now() - began) < timedelta(minutes=1)


def test_retries_wait_for_their_time_and_end_in_a_dead_letter(app, alias):
    @app.job(max_retries=2, retry_delay=[60, 3600])
    def broken():
        raise ValueError

    job_id = broken.enqueue()

    assert drain_jobs(until=timedelta(minutes=1)).retried == 2
    summary = drain_jobs(until=timedelta(hours=2))
    assert summary.dead_lettered == 1
    letter = DeadLetterJob.objects.using(alias).get(pk=job_id)
    waited = letter.moved_to_dead_letter_at - letter.original_created_at
    assert timedelta(minutes=61) <= waited < timedelta(minutes=62)


def test_jobs_enqueued_on_the_way_are_due_on_the_way(app):
    seen = []

    @app.job
    def child():
        seen.append(timezone.now())

    @app.job
    def parent():
        seen.append(timezone.now())
        child.using(scheduled_at=timedelta(hours=1)).enqueue()

    parent.using(scheduled_at=timedelta(hours=1)).enqueue()

    assert drain_jobs(until=timedelta(hours=1, minutes=59)).succeeded == 1
    assert drain_jobs(until=timedelta(hours=3)).succeeded == 1
    assert timedelta(minutes=59) < seen[1] - seen[0] < timedelta(hours=1, minutes=1)


@pytest.mark.slow
def test_job_that_snoozes_until_a_time_by_pythons_clock_gets_there(app):
    began = timezone.now()
    ready = began + timedelta(days=1)

    @app.job
    def wait():
        if timezone.now() < ready:
            return soniq.Snooze(3600)
        return "there"

    wait.enqueue()

    summary = drain_jobs(until=timedelta(days=2))

    assert (summary.succeeded, summary.waiting) == (1, 0)
    assert 24 <= summary.snoozed <= 25


def test_until_may_be_an_instant(app):
    @app.job
    def job():
        pass

    job.using(scheduled_at=FUTURE).enqueue()

    assert not drain_jobs(until=FUTURE - timedelta(seconds=1))
    assert drain_jobs(until=FUTURE).succeeded == 1
    with pytest.raises(TypeError, match="naive"):
        drain_jobs(until=FUTURE.replace(tzinfo=None))


def freeze_with_freezegun(instant):
    return freezegun.freeze_time(instant)


def freeze_with_time_machine(instant):
    return time_machine.travel(instant, tick=False)


FREEZES = pytest.mark.parametrize("freeze", [freeze_with_freezegun, freeze_with_time_machine])


@FREEZES
@pytest.mark.parametrize("instant", [PAST, FUTURE])
def test_queue_goes_by_a_frozen_clock(app, alias, freeze, instant):
    ran = []

    @app.job
    def note(name):
        ran.append((name, timezone.now()))

    with freeze(instant) as frozen:
        job_id = note.enqueue(name="at once")
        note.using(scheduled_at=timezone.now() + timedelta(hours=1)).enqueue(name="by instant")
        note.using(scheduled_at=timedelta(hours=2)).enqueue(name="by delay")
        assert_enqueued(note, at=timedelta(hours=2))
        assert drain_jobs().succeeded == 1
        row = Job.objects.using(alias).get(pk=job_id)
        assert (row.created_at, row.started_at, row.finished_at) == (instant,) * 3

        frozen.move_to(instant + timedelta(hours=1))
        assert drain_jobs().succeeded == 1
        assert not drain_jobs(until=timedelta(minutes=59))
        assert drain_jobs(until=timedelta(minutes=60)).succeeded == 1
        assert timezone.now() == instant + timedelta(hours=1)

    assert [name for name, _ in ran] == ["at once", "by instant", "by delay"]
    assert [round((at - instant).total_seconds()) for _, at in ran] == [0, 3600, 7200]


@FREEZES
def test_unique_and_batch_enqueues_go_by_a_frozen_clock(app, alias, freeze):
    @app.job(unique=True, max_retries=0)
    def job(number):
        raise ValueError

    with freeze(PAST):
        ids = job.enqueue_many([{"number": number % 25} for number in range(50)])
        assert len(set(ids)) == 25
        assert drain_jobs().dead_lettered == 25

    letters = DeadLetterJob.objects.using(alias)
    assert set(letters.values_list("moved_to_dead_letter_at", flat=True)) == {PAST}


def test_times_are_the_databases_again_after_a_freeze(app, alias):
    @app.job
    def job():
        pass

    with freezegun.freeze_time(PAST):
        pass
    job_id = job.enqueue()

    assert Job.objects.using(alias).get(pk=job_id).created_at > PAST + timedelta(days=365)


@FREEZES
def test_memory_goes_by_a_frozen_clock_too(freeze):
    with testing_mode("memory") as app, freeze(PAST):

        @app.job
        def job():
            return str(timezone.now())

        job.using(scheduled_at=timedelta(hours=1)).enqueue()
        assert not drain_jobs()
        assert drain_jobs(until=timedelta(hours=1)).succeeded == 1


def test_memory_can_be_moved_without_a_freeze(soniq_app):
    @soniq_app.job(max_retries=1, retry_delay=60)
    def broken():
        raise ValueError

    broken.enqueue()

    assert drain_jobs(until=timedelta(minutes=2)).dead_lettered == 1


def test_store_whose_clock_cannot_be_moved_is_told(db):
    from soniq.backends.memory import MemoryBackend

    app = make_app(backend=MemoryBackend(lambda: 0.0), environment=TestEnvironment())

    @app.job
    def job():
        pass

    job.using(scheduled_at=60).enqueue()

    with pytest.raises(RuntimeError, match="cannot be moved"):
        drain_jobs(until=timedelta(hours=1), app=app)


@pytest.mark.parametrize("behind", [timedelta(hours=1), timedelta(hours=-1)])
def test_times_from_now_are_those_of_the_stores_clock(app, monkeypatch, behind):
    """The database's machine may have another idea of now than Python's."""

    @app.job
    def job():
        pass

    job.using(scheduled_at=timedelta(minutes=30)).enqueue()
    monkeypatch.setattr(TestClock, "now", lambda self: dt.datetime.now(dt.UTC) - behind)

    assert not drain_jobs(until=timedelta(minutes=29))
    assert drain_jobs(until=timedelta(minutes=31)).succeeded == 1


def test_without_a_library_only_the_queues_clock_moves(app, monkeypatch):
    monkeypatch.setattr("soniq_django.testing.clock.find_spec", lambda name: None)
    began = timezone.now()
    seen = []

    @app.job(max_retries=1, retry_delay=3600)
    def broken():
        seen.append(timezone.now() - began)
        raise ValueError

    broken.enqueue()

    assert drain_jobs(until=timedelta(hours=2)).dead_lettered == 1
    assert max(seen) < timedelta(minutes=1)
