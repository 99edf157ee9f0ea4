"""A worker that is lost, a job that overruns: without a kill and without a wait."""

from __future__ import annotations

import pytest

import soniq
from soniq_django.models import DeadLetterJob, Job
from soniq_django.signals import job_dead_lettered
from soniq_django.testing import drain_jobs, simulate_crash, simulate_timeout, testing_mode
from tests.shop.jobs import resize_picture
from tests.shop.models import Note

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def job(app, alias):
    """A job that notes its attempts in the database."""

    @app.job(max_retries=3, retry_delay=0, timeout=30)
    def note(name: str, ctx: soniq.JobContext):
        Note.objects.using(alias).create(text=f"{name} {ctx.attempt}")

    return note


def notes(alias):
    return list(Note.objects.using(alias).order_by("pk").values_list("text", flat=True))


def test_lost_worker_costs_an_attempt_and_the_job_runs_again(job, alias):
    job_id = job.enqueue(name="a")
    with simulate_crash(job):
        summary = drain_jobs()

    assert (summary.crashed, summary.succeeded) == (1, 1)
    assert notes(alias) == ["a 2"]
    row = Job.objects.using(alias).get(pk=job_id)
    assert (row.status, row.attempts, row.crashes) == ("done", 2, 1)
    assert "was lost during attempt 1" in summary.attempts[0].message


def test_worker_may_be_lost_after_the_handler_has_run(job, alias):
    job.enqueue(name="a")
    with simulate_crash(job, ran=True):
        drain_jobs()

    assert notes(alias) == ["a 1", "a 2"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_atomic_job_has_done_nothing_when_its_worker_is_lost(app, alias, kind):
    ran = []

    if kind == "sync":

        @app.job(atomic=True)
        def job():
            ran.append(1)
            Note.objects.using(alias).create(text="once")

    else:

        @app.job(atomic=True)
        async def job():
            ran.append(1)
            await Note.objects.using(alias).acreate(text="once")

    job.enqueue()
    with simulate_crash(job, ran=True):
        summary = drain_jobs()

    assert (summary.crashed, summary.succeeded) == (1, 1)
    assert len(ran) == 2
    assert notes(alias) == ["once"]


def test_job_that_always_loses_its_worker_is_a_dead_letter(job, alias):
    job_id = job.enqueue(name="a")
    with simulate_crash(job, attempts=None):
        summary = drain_jobs()

    assert (summary.crashed, summary.dead_lettered) == (2, 1)
    letter = DeadLetterJob.objects.using(alias).get(pk=job_id)
    assert (letter.dead_letter_reason, letter.attempts) == ("worker_lost", 3)


def test_signals_tell_of_a_job_that_lost_its_worker_for_good():
    told = []

    def hear(job_name, reason, **about):
        told.append((job_name, reason))

    resize_picture.enqueue(path="a")
    job_dead_lettered.connect(hear)
    try:
        with simulate_crash(attempts=None):
            drain_jobs()
    finally:
        job_dead_lettered.disconnect(hear)

    assert told == [("shop.resize_picture", "worker_lost")]


def test_faults_hit_the_jobs_and_attempts_that_are_meant(job, alias):
    for name in ("a", "b"):
        job.enqueue(name=name)
    with simulate_crash(job, attempts=(1, 2), name="b"):
        assert drain_jobs().crashed == 2

    assert sorted(notes(alias)) == ["a 1", "b 3"]


def test_faults_end_with_their_block(job, alias):
    with simulate_crash():
        pass
    job.enqueue(name="a")

    assert drain_jobs().crashed == 0


def test_job_that_overruns_is_retried_and_told_so(job, app, alias):
    told = []
    app.on_error(lambda name, job_id, error, attempt: told.append(error))
    job_id = job.enqueue(name="a")
    with simulate_timeout(job):
        summary = drain_jobs()

    assert (summary.retried, summary.succeeded) == (1, 1)
    assert isinstance(summary.errors[0], soniq.JobTimeout)
    assert [error.seconds for error in told] == [30]
    assert notes(alias) == ["a 2"]
    assert Job.objects.using(alias).get(pk=job_id).attempts == 2


def test_last_attempt_that_overruns_is_a_dead_letter_of_that_reason(job, alias):
    job_id = job.enqueue(name="a")
    with simulate_timeout(job, attempts=None):
        assert drain_jobs().dead_lettered == 1

    letter = DeadLetterJob.objects.using(alias).get(pk=job_id)
    assert (letter.dead_letter_reason, letter.attempts) == ("timeout", 4)


def test_async_jobs_overrun_too(app, alias):
    @app.job(max_retries=0)
    async def slow():
        raise AssertionError("never called")

    slow.enqueue()
    with simulate_timeout():
        assert [attempt.reason for attempt in drain_jobs().attempts] == ["timeout"]


def test_job_without_a_timeout_cannot_overrun(app):
    @app.job(timeout=0)
    def patient():
        pass

    patient.enqueue()
    with simulate_timeout(patient), pytest.raises(ValueError, match="no timeout that it could overrun"):
        drain_jobs()


def test_faults_hit_jobs_that_run_inline(job, alias):
    with testing_mode("inline"), simulate_crash(job):
        job.enqueue(name="a")

    assert notes(alias) == ["a 2"]


def test_inner_fault_goes_before_the_outer_one(job):
    job.enqueue(name="a")
    with simulate_crash(job), simulate_timeout(job):
        summary = drain_jobs()

    assert (summary.retried, summary.crashed) == (1, 0)
