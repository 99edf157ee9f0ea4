"""Jobs run within the test, on its own connection, by the path that they go in production."""

from __future__ import annotations

import asyncio

import pytest
from django.db import IntegrityError, connections, transaction

import soniq
from soniq_django.models import DeadLetterJob, Job
from soniq_django.testing import adrain_jobs, drain_jobs
from tests.shop.models import Note

pytestmark = pytest.mark.django_db(databases="__all__")


def test_job_sees_what_the_test_wrote_and_the_test_sees_what_the_job_wrote(app, alias):
    @app.job
    def copy(text):
        Note.objects.using(alias).create(text=Note.objects.using(alias).get().text + text)
        return text

    Note.objects.using(alias).create(text="of the test")
    job_id = copy.enqueue(text=", copied")

    summary = drain_jobs()

    assert (summary.succeeded, summary.failed, summary.waiting) == (1, 0, 0)
    assert Note.objects.using(alias).filter(text="of the test, copied").count() == 1
    row = Job.objects.using(alias).get(pk=job_id)
    assert (row.status, row.attempts, row.result) == ("done", 1, ", copied")
    assert connections[alias].in_atomic_block


def test_async_jobs_use_the_tests_connection_too(app, alias):
    @app.job
    async def write():
        await asyncio.sleep(0)
        await Note.objects.using(alias).acreate(text="async")

    write.enqueue()

    assert drain_jobs().succeeded == 1
    assert Note.objects.using(alias).get().text == "async"


def test_jobs_of_jobs_run_in_order_of_priority(app):
    ran = []

    @app.job
    def child(name):
        ran.append(name)

    @app.job(priority=1)
    def parent():
        ran.append("parent")
        child.using(priority=500).enqueue(name="last")
        child.using(priority=2).enqueue(name="first")

    child.using(priority=100).enqueue(name="between")
    parent.enqueue()

    assert drain_jobs().succeeded == 4
    assert ran == ["parent", "first", "between", "last"]


def test_job_enqueued_in_front_goes_before_others_of_its_parents_priority(app):
    ran = []

    @app.job
    def child():
        ran.append("child")

    @app.job
    def parent():
        ran.append("parent")
        child.using(priority=1).enqueue()

    parent.enqueue_many([{}, {}])

    drain_jobs()
    assert ran == ["parent", "child"] * 2


def test_retries_without_delay_end_in_a_dead_letter_within_one_drain(app, alias):
    @app.job(max_retries=2, retry_delay=0)
    def broken():
        raise ValueError("always")

    job_id = broken.enqueue()

    summary = drain_jobs()

    assert (summary.succeeded, summary.failed, summary.retried, summary.dead_lettered) == (0, 3, 2, 1)
    assert [str(error) for error in summary.errors] == ["always"] * 3
    assert summary.attempts[-1].reason == "max_retries_exceeded"
    letter = DeadLetterJob.objects.using(alias).get(pk=job_id)
    assert letter.attempts == 3
    assert "ValueError: always" in letter.last_error


def test_retry_with_a_delay_is_left_waiting(app):
    @app.job(max_retries=1, retry_delay=60)
    def broken():
        raise ValueError("for now")

    broken.enqueue()

    summary = drain_jobs()

    assert (summary.retried, summary.waiting) == (1, 1)
    assert summary.attempts[0].again_in == 60
    assert not drain_jobs()


def test_once_attempts_each_job_once(app):
    @app.job(max_retries=1, retry_delay=0)
    def broken():
        raise ValueError("again")

    broken.enqueue()

    assert len(drain_jobs(once=True).attempts) == 1
    assert drain_jobs(once=True).dead_lettered == 1


def test_raising_gives_the_exception_itself_after_recording_it(app, alias):
    problem = ValueError("mine")

    @app.job(max_retries=0)
    def broken():
        raise problem

    broken.enqueue()

    with pytest.raises(ValueError, match="mine") as raised:
        drain_jobs(raising=True)
    assert raised.value is problem
    assert DeadLetterJob.objects.using(alias).count() == 1


def test_queues_and_jobs_confine_a_drain(app):
    @app.job(queue="left")
    def left():
        pass

    @app.job(queue="right")
    def right():
        pass

    for job in (left, right, left, right):
        job.enqueue()

    assert drain_jobs(queues=["left"], jobs=[right]).attempts == ()
    assert [one.job_name for one in drain_jobs(queues=["left"]).attempts] == [left.name] * 2
    summary = drain_jobs(jobs=[right])
    assert (summary.succeeded, summary.waiting) == (2, 0)


def test_failed_statement_of_a_job_leaves_the_tests_transaction_usable(app, alias):
    note = Note.objects.using(alias).create(text="kept")

    @app.job(max_retries=0)
    def double():
        Note.objects.using(alias).create(pk=note.pk, text="the same key")

    double.enqueue()

    summary = drain_jobs()

    assert summary.dead_lettered == 1
    assert isinstance(summary.errors[0], IntegrityError)
    assert Note.objects.using(alias).get().text == "kept"


def test_swallowed_statement_error_does_not_keep_the_outcome_from_being_recorded(app, alias):
    note = Note.objects.using(alias).create(text="kept")

    @app.job
    async def double():
        try:
            await Note.objects.using(alias).acreate(pk=note.pk, text="the same key")
        except IntegrityError:
            return "swallowed"

    job_id = double.enqueue()

    assert drain_jobs().succeeded == 1
    assert Job.objects.using(alias).get(pk=job_id).result == "swallowed"


def test_failing_job_keeps_what_it_had_written_as_in_production(app, alias):
    @app.job(max_retries=0)
    def half():
        Note.objects.using(alias).create(text="half")
        raise ValueError("then it broke")

    half.enqueue()

    assert drain_jobs().dead_lettered == 1
    assert Note.objects.using(alias).get().text == "half"


def test_callbacks_that_a_job_leaves_to_the_commit_are_called(app, alias):
    @app.job
    def child():
        Note.objects.using(alias).create(text="of the child")

    @app.job
    def parent():
        with transaction.atomic(using=alias):
            transaction.on_commit(child.enqueue, using=alias)

    parent.enqueue()
    known = len(connections[alias].run_on_commit)

    assert drain_jobs().succeeded == 2
    assert Note.objects.using(alias).count() == 1
    assert len(connections[alias].run_on_commit) == known


def test_failing_callback_fails_its_job(app, alias):
    def broken():
        raise ValueError("of the callback")

    @app.job(max_retries=0)
    def parent():
        transaction.on_commit(broken, using=alias)

    parent.enqueue()

    assert [str(error) for error in drain_jobs().errors] == ["of the callback"]


def test_snoozing_job_waits_and_its_attempt_does_not_count(app, alias):
    @app.job
    def later():
        return soniq.Snooze(60)

    job_id = later.enqueue()

    summary = drain_jobs()

    assert (summary.snoozed, summary.waiting) == (1, 1)
    assert Job.objects.using(alias).get(pk=job_id).attempts == 0


def test_job_that_enqueues_itself_for_ever_is_told(app):
    @app.job
    def endless():
        endless.enqueue()

    endless.enqueue()

    with pytest.raises(AssertionError, match=r"5 attempts were made.*endless.*enqueue itself"):
        drain_jobs(limit=5)


def test_hooks_middleware_and_context_are_the_real_ones(app):
    told = []
    app.before_job(lambda name, job_id, attempt: told.append(("before", attempt)))
    app.on_error(lambda name, job_id, error, attempt: told.append((str(error), attempt)))

    @app.middleware
    async def around(ctx, call_next):
        told.append(ctx.job_name)
        return await call_next()

    @app.job(max_retries=0, name="told")
    def broken(ctx: soniq.JobContext):
        raise ValueError(f"attempt {ctx.attempt} of {ctx.max_attempts}")

    broken.enqueue()
    drain_jobs()

    assert told == [("before", 1), "told", ("attempt 1 of 1", 1)]


def test_arguments_go_through_the_store(app):
    given = []

    @app.job
    def keep(value):
        given.append(value)

    value = {"list": [1]}
    keep.enqueue(value=value)
    value["list"].append(2)
    drain_jobs()

    assert given == [{"list": [1]}]


def test_summary_tells_each_attempt(app):
    @app.job(max_retries=1, retry_delay=5, name="told")
    def broken():
        raise ValueError("so")

    broken.enqueue()

    assert repr(drain_jobs()) == (
        "DrainSummary(retried=1, waiting=1)\n  told, attempt 1: retried, again in 5 s: ValueError: so"
    )


def test_nothing_due_is_a_false_summary(app):
    assert not drain_jobs()


def test_drain_within_a_job_runs_what_that_job_enqueued(app):
    ran = []

    @app.job
    def inner():
        ran.append("inner")

    @app.job
    def outer():
        inner.enqueue()
        assert drain_jobs().succeeded == 1
        ran.append("outer")

    outer.enqueue()

    assert drain_jobs(raising=True).succeeded == 1
    assert ran == ["inner", "outer"]


def test_system_exit_of_a_job_is_a_failure_and_not_the_end_of_the_test(app):
    @app.job(max_retries=0)
    async def leave():
        raise SystemExit(3)

    leave.enqueue()

    assert drain_jobs().dead_lettered == 1


async def test_drain_jobs_in_async_code_says_what_to_do():
    with pytest.raises(RuntimeError, match="adrain_jobs"):
        drain_jobs()


@pytest.mark.django_db(transaction=True, databases="__all__")
class TestTransactional:
    """With what is committed, as in a TransactionTestCase."""

    def test_jobs_run_outside_of_any_transaction(self, app, alias, transactional_db):
        @app.job
        def write():
            assert not connections[alias].in_atomic_block
            Note.objects.using(alias).create(text="committed")

        write.enqueue()

        assert drain_jobs(raising=True).succeeded == 1
        assert Note.objects.using(alias).count() == 1

    async def test_async_tests_drain_too(self, app, alias, transactional_db, closed_connections):
        @app.job
        async def write():
            await Note.objects.using(alias).acreate(text="async")

        @app.job
        def write_sync():
            Note.objects.using(alias).create(text="sync")

        await write.aenqueue()
        await write_sync.aenqueue()

        assert (await adrain_jobs()).succeeded == 2
        assert await Note.objects.using(alias).acount() == 2
