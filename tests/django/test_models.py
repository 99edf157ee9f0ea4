"""Jobs and dead letters in Django's manner: querysets, methods, async twins."""

from __future__ import annotations

import uuid

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from soniq import InvalidArguments, Soniq, default_app
from soniq.errors import DeadLetterNotFound, UnknownTask
from soniq.jobs import ClaimRequest, DeadLetterReason
from soniq.transitions import bury, fail, succeed
from soniq_django import querysets
from soniq_django.backend import DjangoBackend
from soniq_django.connections import DjangoEnvironment
from soniq_django.models import DeadLetterJob, Job
from tests.yard.jobs import noop, write_note

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def app(alias: str, db) -> Soniq:
    """Within the test's transaction, which is quick; nothing here needs another session."""
    with default_app(Soniq(backend=DjangoBackend(alias), environment=DjangoEnvironment())) as app:
        yield app


def row(alias: str, job_id: str) -> Job:
    return Job.objects.using(alias).get(pk=job_id)


def claimed(app: Soniq):
    """One more job, in the hands of a worker."""
    noop.using(priority=0).enqueue()
    [claim] = app.backend.claim(ClaimRequest(worker_id=str(uuid.uuid4()), limit=1))
    return claim


def letter(app: Soniq, alias: str, job=noop, **args) -> DeadLetterJob:
    """A job that gave up."""
    job_id = job.using(priority=0).enqueue(**args)
    [claim] = app.backend.claim(ClaimRequest(worker_id=str(uuid.uuid4()), limit=1))
    app.backend.apply([bury(claim, reason=DeadLetterReason.TIMEOUT, error="late")])
    return DeadLetterJob.objects.using(alias).get(pk=job_id)


def test_querysets_say_where_jobs_stand(app: Soniq, alias: str) -> None:
    """By the names that the rest of the project uses; they combine as Django's do."""
    due = noop.enqueue()
    later = noop.using(scheduled_at=3600, queue="q").enqueue()
    withdrawn = noop.using(scheduled_at=3600).enqueue()
    row(alias, withdrawn).cancel()
    finished = claimed(app)
    app.backend.apply([succeed(finished, result_json=None, ttl=60)])
    running = claimed(app)
    jobs = Job.objects.using(alias)

    found = {
        name: {str(pk) for pk in getattr(jobs, name)().values_list("pk", flat=True)}
        for name in ("queued", "due", "delayed", "processing", "live", "done", "cancelled")
    }

    assert found == {
        "queued": {due, later},
        "due": {due},
        "delayed": {later},
        "processing": {running.job_id},
        "live": {due, later, running.job_id},
        "done": {finished.job_id},
        "cancelled": {withdrawn},
    }
    assert jobs.filter(queue="q").delayed().count() == 1


def test_cancel_withdraws_what_waits_and_nothing_else(app: Soniq, alias: str) -> None:
    """The instance says so at once."""
    job = row(alias, noop.enqueue())
    running = row(alias, claimed(app).job_id)

    assert job.cancel() is True
    assert (job.status, job.expires_at is None) == (Job.Status.CANCELLED, False)
    assert job.cancel() is False
    assert running.cancel() is False
    assert row(alias, str(running.pk)).status == Job.Status.PROCESSING


def test_retry_now_makes_a_waiting_job_due(app: Soniq, alias: str) -> None:
    """Delayed, or before a retry; one that runs is left alone."""
    delayed = row(alias, noop.using(scheduled_at=3600).enqueue())
    claim = claimed(app)
    app.backend.apply([fail(claim, error="broken", delay=3600)])
    failed = row(alias, claim.job_id)
    running = row(alias, claimed(app).job_id)

    assert [delayed.retry_now(), failed.retry_now(), running.retry_now()] == [True, True, False]
    due = Job.objects.using(alias).due().values_list("pk", flat=True)
    assert set(due) == {delayed.pk, failed.pk}
    assert (failed.attempts, failed.last_error) == (1, "broken")


def test_querysets_steer_in_batches(app: Soniq, alias: str, monkeypatch) -> None:
    """The ids of those that could be changed come back, of all batches."""
    monkeypatch.setattr(querysets, "AT_ONCE", 2)
    ids = noop.using(scheduled_at=3600).enqueue_many([{}] * 5)
    running = claimed(app).job_id
    jobs = Job.objects.using(alias)

    assert {str(pk) for pk in jobs.retry_now()} == set(ids)
    assert jobs.due().count() == 5
    assert {str(pk) for pk in jobs.all().cancel()} == set(ids)
    assert [str(job.pk) for job in jobs.live()] == [running]


def test_a_sliced_queryset_steers_what_it_shows(app: Soniq, alias: str) -> None:
    """Not the rows that come up as others leave."""
    ids = noop.enqueue_many([{}] * 3)

    assert [str(pk) for pk in Job.objects.using(alias).order_by("pk")[:1].cancel()] == ids[:1]
    assert Job.objects.using(alias).queued().count() == 2


def test_replay_enqueues_a_dead_letter_anew(app: Soniq, alias: str) -> None:
    """With other arguments, queue, priority and attempts if need be; the letter counts it."""
    dead = letter(app, alias, write_note, text="old")

    replay = dead.replay(args={"text": "new"}, queue="again", priority=7, max_attempts=9)

    job = row(alias, replay.job_id)
    assert replay.enqueued
    assert (job.args, job.queue, job.priority, job.max_attempts) == ({"text": "new"}, "again", 7, 9)
    assert (dead.resurrection_count, dead.last_resurrection_at is None) == (1, False)


def test_a_replay_is_checked_first(app: Soniq, alias: str) -> None:
    """Nothing is written for arguments that do not fit, code that is gone, a letter that is gone."""
    dead = letter(app, alias, write_note, text="old")
    with pytest.raises(InvalidArguments):
        dead.replay(args={"wrong": 1})
    DeadLetterJob.objects.using(alias).update(job_name="nobody.knows")
    with pytest.raises(UnknownTask):
        dead.replay()
    DeadLetterJob.objects.using(alias).all().delete()
    with pytest.raises(DeadLetterNotFound):
        dead.replay()

    assert not Job.objects.using(alias).exists()


def test_querysets_replay_oldest_first(app: Soniq, alias: str, monkeypatch) -> None:
    """In batches; a held key is told, not an error."""
    monkeypatch.setattr(querysets, "AT_ONCE", 2)
    letters = [letter(app, alias, write_note, text=str(n)) for n in range(3)]

    replays = DeadLetterJob.objects.using(alias).replay(queue="again")

    assert [row(alias, replay.job_id).args["text"] for replay in replays] == ["0", "1", "2"]
    assert all(replay.enqueued for replay in replays)
    assert {one.queue for one in Job.objects.using(alias)} == {"again"}
    letters[0].refresh_from_db()
    assert letters[0].resurrection_count == 1


@pytest.mark.django_db(transaction=True, databases="__all__")
async def test_async_code_has_the_same(alias: str, transactional_db) -> None:
    """With the a-prefix."""
    app = Soniq(backend=DjangoBackend(alias), environment=DjangoEnvironment())
    job_id = await app.enqueue(noop, scheduled_at=3600)
    job = await Job.objects.using(alias).aget(pk=job_id)

    assert await job.aretry_now() is True
    assert await Job.objects.using(alias).due().acount() == 1
    assert await job.acancel() is True
    assert await Job.objects.using(alias).all().acancel() == []
    assert await Job.objects.using(alias).all().aretry_now() == []
    assert await DeadLetterJob.objects.using(alias).all().areplay() == []
    await sync_to_async(connections.close_all)()  # of the thread that asgiref keeps


def test_objects_are_found_where_the_setting_says(settings) -> None:
    """SONIQ["DATABASE"], without a router of the project's; using() says otherwise."""
    other = next((alias for alias in connections if alias != "default"), None)
    if other is None:
        pytest.skip("needs a second database")
    settings.SONIQ = {"DATABASE": other}
    job_id = noop.enqueue()

    job = Job.objects.get(pk=job_id)

    assert job._state.db == other
    assert not Job.objects.using("default").exists()
    assert job.cancel() is True
    assert Job.objects.cancelled().count() == 1


def test_steering_goes_to_where_rows_are_written(app: Soniq, alias: str, settings) -> None:
    """A router may read from a replica."""
    other = next((one for one in connections if one != alias), None)
    if other is None:
        pytest.skip("needs a second database")

    class Router:
        def db_for_read(self, model, **hints):
            return other

        def db_for_write(self, model, **hints):
            return alias

    settings.DATABASE_ROUTERS = [Router()]
    noop.enqueue_many([{}] * 2)

    assert Job.objects.count() == 0
    assert len(Job.objects.cancel()) == 2
