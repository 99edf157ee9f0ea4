"""Jobs wait, run at once, or have no database at all."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, TestCase, override_settings

import soniq
from soniq import default_app
from soniq_django.conf import read_settings
from soniq_django.models import DeadLetterJob, Job
from soniq_django.testing import (
    JobTestMixin,
    assert_enqueued,
    assert_no_jobs,
    capture_jobs,
    drain_jobs,
    memory_app,
    testing_mode,
)
from tests.shop.jobs import send_receipt
from tests.shop.models import Note
from tests.yard.jobs import awrite_note, fail, write_note

DATABASE = pytest.mark.django_db(databases="__all__")


@DATABASE
class TestInline:
    def test_job_has_run_when_enqueue_returns(self, app, alias):
        with testing_mode("inline"):
            job_id = write_note.enqueue(text="inline", alias=alias)

        assert Note.objects.using(alias).get().text == "inline"
        row = Job.objects.using(alias).get(pk=job_id)
        assert (row.status, row.attempts, row.result) == ("done", 1, Note.objects.using(alias).get().pk)

    def test_async_jobs_run_inline_too(self, app, alias):
        with testing_mode("inline"):
            awrite_note.enqueue(text="async", alias=alias)

        assert Note.objects.using(alias).get().text == "async"

    def test_error_reaches_the_caller_once_it_is_recorded(self, app, alias):
        with testing_mode("inline"), pytest.raises(ValueError, match="of the job"):
            fail.enqueue(message="of the job")

        assert DeadLetterJob.objects.using(alias).count() == 1

    def test_a_replayed_dead_letter_runs_like_any_enqueue(self, app, alias):
        with testing_mode("inline"), pytest.raises(ValueError, match="once"):
            fail.enqueue(message="once")
        dead = DeadLetterJob.objects.using(alias).get()

        with testing_mode("inline"), pytest.raises(ValueError, match="again"):
            app.dead_letter.replay_now(dead.pk, new_args={"message": "again"})

        assert DeadLetterJob.objects.using(alias).count() == 2

    def test_error_may_be_recorded_alone(self, app, alias):
        attempts = []

        @app.job(max_retries=2, retry_delay=0)
        def broken():
            attempts.append(1)
            raise ValueError

        with testing_mode("inline", raising=False):
            broken.enqueue()

        assert len(attempts) == 3
        assert DeadLetterJob.objects.using(alias).count() == 1

    def test_jobs_of_jobs_run_inside_them(self, app):
        ran = []

        @app.job
        def child():
            ran.append("child")

        @app.job
        async def parent():
            ran.append("begin")
            await child.aenqueue()
            ran.append("end")

        with testing_mode("inline"):
            parent.enqueue()

        assert ran == ["begin", "child", "end"]

    def test_what_is_for_later_waits(self, app):
        with testing_mode("inline"):
            send_receipt.using(scheduled_at=60).enqueue(order_id=1)

        assert drain_jobs(until=timedelta(minutes=2)).succeeded == 1

    def test_jobs_that_waited_before_go_on_waiting(self, app, alias):
        waiting = send_receipt.enqueue(order_id=1)
        with testing_mode("inline"):
            ran = send_receipt.enqueue(order_id=2)

        rows = dict(Job.objects.using(alias).values_list("pk", "status"))
        assert {str(pk): status for pk, status in rows.items()} == {waiting: "queued", ran: "done"}
        assert Job.objects.using(alias).get(pk=waiting).attempts == 0

    def test_batches_run_and_are_captured(self, app):
        with testing_mode("inline"), capture_jobs() as jobs:
            send_receipt.enqueue_many([{"order_id": 1}, {"order_id": 2}])

        assert len(jobs) == 2
        assert not drain_jobs()

    def test_manual_within_inline_waits(self, app):
        with testing_mode("inline"):
            with testing_mode("manual"):
                send_receipt.enqueue(order_id=1)
            assert drain_jobs().succeeded == 1
            send_receipt.enqueue(order_id=2)

        assert not drain_jobs()

    def test_fixture(self, app, alias, inline_jobs):
        write_note.enqueue(text="inline", alias=alias)
        assert Note.objects.using(alias).count() == 1


@pytest.mark.django_db(transaction=True, databases="__all__")
async def test_async_enqueue_runs_inline(app, alias, transactional_db, closed_connections):
    with testing_mode("inline"):
        await awrite_note.aenqueue(text="async", alias=alias)
        await write_note.aenqueue(text="sync", alias=alias)

    assert await Note.objects.using(alias).acount() == 2


# In memory. No mark: a query would be refused.


def test_memory_needs_no_database():
    with testing_mode("memory"):
        send_receipt.enqueue(order_id=1)
        assert_enqueued(send_receipt, order_id=1)
        assert drain_jobs().succeeded == 1
    with testing_mode("memory"):
        assert_no_jobs()


async def test_memory_serves_async_tests():
    with testing_mode("memory") as app:
        job_id = await send_receipt.aenqueue(order_id=1)
        await app.run_worker(run_once=True)
        assert (await app.get_job(job_id))["status"] == "done"


async def test_memory_and_inline_go_together():
    ran = []
    with testing_mode("memory") as app, testing_mode("inline"):

        @app.job
        async def note():
            ran.append("async")

        @app.job
        def note_sync():
            ran.append("sync")

        await note.aenqueue()
        await note_sync.aenqueue()

    assert ran == ["async", "sync"]


@testing_mode("memory")
def test_mode_decorates_functions():
    send_receipt.enqueue(order_id=1)
    assert drain_jobs().succeeded == 1


@testing_mode("memory")
async def test_mode_decorates_async_functions():
    await send_receipt.aenqueue(order_id=1)
    assert_enqueued(send_receipt)


def test_memory_app_has_the_projects_settings():
    with override_settings(SONIQ={"MAX_RETRIES": 7, "QUEUES": ["emails"]}):
        app = memory_app(max_retries=1)

    assert (app.settings.max_retries, app.settings.queues) == (1, ("emails",))


def test_unknown_mode_is_refused():
    with pytest.raises(soniq.ConfigurationError, match="'eager' is no mode"):
        testing_mode("eager")


# The setting.


def test_setting_puts_all_tests_in_memory():
    before = soniq.get_default_app()
    with override_settings(SONIQ={"TESTING": "memory", "MAX_RETRIES": 0}):
        fail.enqueue(message="x")
        assert drain_jobs().dead_lettered == 1
        assert soniq.get_default_app() is not before


@pytest.mark.django_db
def test_setting_runs_jobs_inline():
    with override_settings(SONIQ={"TESTING": "inline"}):
        write_note.enqueue(text="by the setting")
        assert Note.objects.get().text == "by the setting"


def test_setting_leaves_no_callbacks_for_the_commit():
    with override_settings(SONIQ={"TESTING": "manual"}):
        assert (read_settings().notify, read_settings().testing) == (False, "manual")


def test_setting_is_checked():
    with override_settings(), pytest.raises(ImproperlyConfigured, match=r"SONIQ\['TESTING'\] is 'eager'"):
        from django.conf import settings

        settings.SONIQ = {"TESTING": "eager"}
        read_settings()


# Without pytest's fixtures.


class Methods(JobTestMixin, TestCase):
    """The methods of the mixin, on the test's transaction."""

    databases = "__all__"

    def test_methods(self):
        self.assertNoJobs()
        with self.captureJobs() as jobs:
            send_receipt.enqueue(order_id=1)
        jobs.assert_enqueued(send_receipt, count=1)
        self.assertEnqueued(send_receipt, order_id=1)
        assert self.drainJobs().succeeded == 1
        with pytest.raises(AssertionError, match=r"shop\.send_receipt"):
            self.assertNoJobs()

    async def test_methods_in_async_tests(self):
        await send_receipt.aenqueue(order_id=1)
        await write_note.aenqueue(text="async")
        summary = await self.adrainJobs(raising=True)
        assert summary.succeeded == 2
        assert await Note.objects.acount() == 1

    def test_callbacks_of_the_commit_may_enqueue(self):
        from django.db import transaction

        with self.captureOnCommitCallbacks(execute=True):
            transaction.on_commit(lambda: send_receipt.enqueue(order_id=1))
        self.assertEnqueued(send_receipt, order_id=1)


class InMemory(JobTestMixin, SimpleTestCase):
    """A mode for a whole class, without any database."""

    job_mode = "memory"

    def test_one(self):
        self.assertNoJobs()
        send_receipt.enqueue(order_id=1)
        assert self.drainJobs().succeeded == 1

    test_two = test_one  # each begins with an empty memory

    async def test_async(self):
        await send_receipt.aenqueue(order_id=1)
        assert (await self.adrainJobs()).succeeded == 1


@testing_mode("inline")
class Decorated(TestCase):
    """The decorator on a class."""

    def test_runs_inline(self):
        write_note.enqueue(text="inline")
        assert Note.objects.count() == 1


@override_settings(SONIQ={"TESTING": "memory"})
class MemoryBySetting(JobTestMixin, SimpleTestCase):
    """The mixin gives each test a memory of its own."""

    def test_one(self):
        self.assertNoJobs()
        send_receipt.enqueue(order_id=1)
        assert self.drainJobs().succeeded == 1

    test_two = test_one


def test_modes_give_the_default_app_back():
    before = soniq.get_default_app()
    with testing_mode("memory") as inner:
        assert soniq.get_default_app() is inner
    assert soniq.get_default_app() is before
    with default_app(before), testing_mode("inline") as app:
        assert app is before
        assert len(app.audience.watchers) == 1
    assert app.audience.watchers == []
