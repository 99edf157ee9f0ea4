"""procrastinate's jobs become soniq's."""

from datetime import UTC, datetime

import pytest
from django.db import connections

from soniq_django.models import Job
from tests.importing.conftest import installed
from tests.importing.jobs import SEND
from tests.support.vendors import POSTGRES

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.parametrize("alias", POSTGRES, indirect=True),
]


@pytest.fixture(scope="module")
def procrastinate(reachable, django_db_blocker):
    """Its Django app, on the tests' PostgreSQL, with the schema that it ships."""
    alias = next(alias for alias in reachable if connections[alias].vendor == "postgresql")
    with installed("procrastinate.contrib.django", PROCRASTINATE_DATABASE_ALIAS=alias):
        from procrastinate.contrib.django import app
        from procrastinate.schema import SchemaManager

        with django_db_blocker.unblock(), connections[alias].cursor() as cursor:
            cursor.execute(SchemaManager.get_schema())
        yield app


@pytest.fixture
def alias(request):
    return request.param


@pytest.fixture(autouse=True)
def here(alias, soniq_on):
    soniq_on(alias)


@pytest.fixture
def theirs(alias, procrastinate):
    from procrastinate.contrib.django.models import ProcrastinateJob

    return ProcrastinateJob.objects.using(alias)


def test_waiting_jobs_become_jobs_once(alias, procrastinate, theirs, run_import, stored):
    when = datetime(2031, 5, 1, 12, 30, tzinfo=UTC)
    procrastinate.configure_task(SEND).defer(order_id=1)
    procrastinate.configure_task("moving.renamed", queue="slow", priority=20, schedule_at=when).defer(
        order_id=2
    )
    ran = run_import("procrastinate", "--batch-size", "1")
    assert (ran.code, ran.said.splitlines()[0]) == (0, "waiting jobs of procrastinate: 2 moved")
    assert stored(alias) == [
        (SEND, {"order_id": 1}, "default", 100),
        ("moving.renamed", {"order_id": 2}, "slow", 80),
    ]
    assert Job.objects.using(alias).get(queue="slow").scheduled_at == when
    assert list(theirs.values_list("status", flat=True)) == ["cancelled", "cancelled"]
    assert "0 moved" in run_import("procrastinate").said


def test_procrastinate_notes_what_became_of_them(alias, procrastinate, theirs, run_import):
    from procrastinate.contrib.django.models import ProcrastinateEvent

    procrastinate.configure_task(SEND).defer(order_id=1)
    run_import("procrastinate")
    events = ProcrastinateEvent.objects.using(alias).order_by("id")
    assert list(events.values_list("type", flat=True)) == ["deferred", "cancelled"]


def test_what_runs_or_ran_is_left_alone(alias, procrastinate, theirs, run_import, stored):
    for status in ("doing", "succeeded", "failed"):
        job = procrastinate.configure_task(SEND).defer(order_id=1)
        theirs.filter(pk=job).update(status=status)
    assert run_import("procrastinate").code == 0
    assert stored(alias) == []


def test_a_queueing_lock_is_a_dedup_key(alias, procrastinate, theirs, run_import):
    procrastinate.configure_task(SEND, queueing_lock="order 1").defer(order_id=1)
    run_import("procrastinate")
    assert Job.objects.using(alias).get().dedup_key == "order 1"


def test_a_job_that_holds_a_lock_stays_until_it_is_dropped(alias, procrastinate, theirs, run_import, stored):
    procrastinate.configure_task(SEND, lock="customer 1").defer(order_id=1)
    ran = run_import("procrastinate")
    assert (ran.code, stored(alias)) == (1, [])
    assert "it holds a lock" in ran.said
    assert run_import("procrastinate", "--drop-locks").code == 0
    assert len(stored(alias)) == 1


def test_periodic_tasks_are_told(alias, procrastinate, run_import):
    @procrastinate.periodic(cron="*/5 * * * *")
    @procrastinate.task(name="tests.sweep")
    def sweep(timestamp): ...

    try:
        said = run_import("procrastinate").said
    finally:
        procrastinate.periodic_registry.periodic_tasks.clear()
    assert "give these to @soniq.periodic" in said
    assert "tests.sweep: tests.sweep(timestamp) by cron '*/5 * * * *'" in said
