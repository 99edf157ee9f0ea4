"""The kit with the tasks of Django's Tasks: named, captured, drained and made to fail like any job."""

from __future__ import annotations

from uuid import UUID

import pytest

from soniq_django.models import Job
from soniq_django.testing import (
    assert_enqueued,
    capture_jobs,
    drain_jobs,
    enqueued_jobs,
    simulate_crash,
    simulate_timeout,
)
from tests.shop import tasks

pytestmark = pytest.mark.django_db(databases="__all__")


def test_task_is_found_by_its_arguments_however_they_were_given(app):
    with capture_jobs() as jobs:
        tasks.order.enqueue(7, express=True)
        tasks.order.enqueue(number=8)

    for found in (jobs, enqueued_jobs()):
        found.assert_enqueued(tasks.order, number=7, express=True, count=1)
        found.assert_enqueued(tasks.order, number=8, count=1)
        found.assert_enqueued(tasks.order, count=2, queue="default")
        assert [job.args for job in found.of(tasks.order)] == [{"number": 7, "express": True}, {"number": 8}]


def test_what_a_variable_parameter_took_has_its_name(app):
    tasks.total.enqueue(1, 2, factor=3)
    tasks.total.enqueue()

    assert_enqueued(tasks.total, numbers=(1, 2), factor=3, count=1)
    assert_enqueued(tasks.total, count=2)


def test_values_that_are_no_json_are_compared_as_they_were(app):
    tasks.echo.enqueue(UUID(int=7))

    assert_enqueued(tasks.echo, value=UUID(int=7))


def test_priority_of_a_task_is_told_as_that_of_its_job(app):
    tasks.order.using(priority=10).enqueue(7)

    assert_enqueued(tasks.order, number=7, priority=90)


def test_message_shows_how_the_nearest_task_differs(app):
    tasks.order.enqueue(7)

    with pytest.raises(AssertionError, match="number: expected 8, was 7"):
        assert_enqueued(tasks.order, number=8)


@pytest.mark.parametrize("unknown", ["numbr", "context"])
def test_argument_that_no_caller_can_give_is_refused(app, unknown):
    with pytest.raises(
        TypeError, match=f"tests.shop.tasks.about_me has no argument '{unknown}'; it has: fail_first"
    ):
        assert_enqueued(tasks.about_me, **{unknown: 1})


def test_a_call_that_no_longer_fits_the_task_is_shown_as_it_is_stored(app):
    job_id = tasks.order.enqueue(7).id
    Job.objects.using(app.backend.alias).filter(pk=job_id).update(args={"*": [1, 2, 3]})

    [job] = enqueued_jobs()
    assert job.args == {"*": [1, 2, 3]}


def test_drain_is_confined_to_a_task(app):
    done, waiting = tasks.order.enqueue(7), tasks.echo.enqueue(1)

    assert drain_jobs(jobs=[tasks.order]).succeeded == 1

    done.refresh()
    waiting.refresh()
    assert (done.status, waiting.status) == ("SUCCESSFUL", "READY")


def test_worker_is_lost_under_the_task_that_is_named(app):
    tasks.order.enqueue(7)
    tasks.order.enqueue(8)
    tasks.echo.enqueue(1)

    with simulate_crash(tasks.order, number=7):
        summary = drain_jobs()

    assert (summary.crashed, summary.succeeded) == (1, 3)


def test_task_overruns_its_timeout(app):
    result = tasks.refuse.enqueue("not reached")

    with simulate_timeout(tasks.refuse, message="not reached"):
        summary = drain_jobs()

    assert summary.attempts[-1].reason == "timeout"
    result.refresh()
    assert result.status == "FAILED"


def test_task_is_no_job_of_a_name_that_is_no_text(app):
    with pytest.raises(TypeError, match=r"is no job: give a function decorated with @soniq.job or @task"):
        assert_enqueued(object())
