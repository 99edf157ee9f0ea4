"""The fixtures that projects get for their own tests."""

from __future__ import annotations

import pytest
from django.db import transaction

import soniq
from tests.shop.models import Note
from tests.yard.jobs import awrite_note, fail, noop, write_note


def test_jobs_of_the_project_land_in_memory(soniq_app, run_jobs) -> None:
    """.enqueue() of a shared job needs no database at all."""
    job_id = noop.enqueue()

    assert run_jobs() is True
    assert soniq_app.backend.get_job(job_id).status == "done"
    assert run_jobs() is False


@pytest.mark.django_db
def test_sync_jobs_see_what_the_tests_transaction_holds(soniq_app, run_jobs) -> None:
    """The job runs on the test's connection, so nothing has to be committed."""
    Note.objects.create(text="of the test")

    @soniq_app.job
    def count() -> int:
        return Note.objects.count()

    job_id = count.enqueue()
    write_note.enqueue(text="of the job")
    run_jobs()

    assert soniq_app.backend.get_job(job_id).result == 1
    assert Note.objects.count() == 2


@pytest.mark.django_db
def test_async_jobs_use_the_tests_connection_too(soniq_app, run_jobs) -> None:
    """The async ORM of a job ends on the same thread."""
    awrite_note.enqueue(text="async")
    run_jobs()

    assert transaction.get_connection().in_atomic_block
    assert Note.objects.get().text == "async"


def test_failures_are_dead_letters_in_the_test_too(soniq_app, run_jobs) -> None:
    """Retries and dead letters work as in production."""
    fail.enqueue(message="broken")
    run_jobs()

    assert soniq_app.backend.queue_stats()["dead_letter"] == 1


def test_the_default_app_returns_after_the_test(request) -> None:
    """The fixture lends the default app, it does not keep it."""
    before = soniq.get_default_app()
    inner = request.getfixturevalue("soniq_app")

    assert soniq.get_default_app() is inner
    assert inner is not before


def test_further_apps_take_settings(soniq_make_app) -> None:
    """soniq_make_app(**settings) makes as many as a test needs."""
    first, second = soniq_make_app(max_retries=0), soniq_make_app()

    assert (first.settings.max_retries, second.settings.max_retries) == (0, 3)


async def test_async_tests_await_the_worker(soniq_app) -> None:
    """In async tests the app is used as the guide shows."""
    job_id = await noop.aenqueue()
    await soniq_app.run_worker(run_once=True)

    assert (await soniq_app.get_job(job_id))["status"] == "done"
