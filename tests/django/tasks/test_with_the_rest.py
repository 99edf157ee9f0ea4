"""Tasks and the rest of soniq: the admin, apps in memory, contexts, local time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone, translation

from soniq import Soniq
from soniq.ids import uuid7_text
from soniq.jobs import ClaimRequest, DeadLetterReason, NewJob
from soniq.transitions import bury
from soniq_django.conf import current_app
from tests.shop import tasks
from tests.support.task_api import default_task_backend


def stored(name: str) -> NewJob:
    context = json.dumps({"task": {"backend": "gone", "using": {"timeout": 3}}})
    return NewJob(uuid7_text(), name, '{"*": [1], "two": 2}', "default", 100, 1, context_json=context)


@pytest.mark.django_db(databases="__all__")
def test_tasks_whose_code_is_gone_are_shown_in_the_admin(client: Any) -> None:
    """In lists and on pages, waiting and dead; nothing there imports code."""
    backend = current_app().backend
    waiting, dead = stored("shop.deleted.waiting"), stored("shop.deleted.dead")
    backend.enqueue([dead])
    [claim] = backend.claim(ClaimRequest(worker_id=uuid7_text(), limit=1, names=[dead.job_name]))
    backend.apply([bury(claim, reason=DeadLetterReason.JOB_NOT_FOUND, error="no code")])
    backend.enqueue([waiting])
    client.force_login(User.objects.create_superuser("root"))

    for model, job in (("job", waiting), ("deadletterjob", dead)):
        listed = client.get(reverse(f"admin:soniq_django_{model}_changelist"))
        page = client.get(reverse(f"admin:soniq_django_{model}_change", args=[job.id]))
        assert (listed.status_code, page.status_code) == (200, 200)
        assert job.job_name in listed.content.decode()
        assert job.job_name in page.content.decode()
    assert default_task_backend.get_result(dead.id).status == "FAILED"
    errors = default_task_backend.get_result(dead.id).errors
    assert [error.traceback for error in errors] == ["ImportError: no code\n"]  # once, as the attempt told it


@pytest.mark.django_db
def test_tasks_run_in_an_app_in_memory(soniq_app: Soniq, run_jobs: Callable[..., bool]) -> None:
    """As the fixtures of the pytest plugin make it, inside of the test's transaction."""
    written = tasks.write_note.enqueue("in memory", "default")
    counted = tasks.atotal.enqueue(1, 2)

    assert run_jobs() is True

    written.refresh()
    counted.refresh()
    assert (written.status, counted.return_value) == ("SUCCESSFUL", 3)
    assert len(written.worker_ids) == 1


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_the_language_of_the_caller_is_that_of_the_task(work: Callable[..., bool]) -> None:
    with translation.override("de"):
        result = tasks.language.enqueue()
    with translation.override("fr"):
        other = tasks.alanguage.enqueue()

    work()

    result.refresh()
    other.refresh()
    assert (result.return_value, other.return_value) == ("de", "fr")


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_without_time_zones_results_speak_local_time(work: Callable[..., bool], settings: Any) -> None:
    """As all times of Django do then."""
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"
    result = tasks.total.using(run_after=timezone.now()).enqueue(1)

    assert result.enqueued_at.tzinfo is None
    assert abs((timezone.now() - result.enqueued_at).total_seconds()) < 60
    assert result.task.run_after.tzinfo is None
    assert default_task_backend.get_result(result.id).task.run_after == result.task.run_after


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_the_check_of_stored_jobs_reads_tasks(app: Soniq) -> None:
    """It finds code that is not imported yet, names what there is none for, and calls that no longer fit."""
    from soniq.check import check_jobs

    app.backend.enqueue(
        [
            stored("tests.yard.chores.sweep")._replace(args_json='{"corner": "left"}'),
            stored("tests.shop.tasks.order")._replace(args_json='{"*": [1, 2]}'),
            stored("tests.shop.tasks.deleted"),
        ]
    )

    report = check_jobs(app.backend, app.registry)

    assert {(finding.job_name, finding.kind) for finding in report.findings} == {
        ("tests.shop.tasks.order", "invalid_arguments"),
        ("tests.shop.tasks.deleted", "unknown_job"),
    }


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_an_atomic_task_writes_all_or_nothing(work: Callable[..., bool], alias: str) -> None:
    from tests.shop.models import Note

    kept = tasks.write_note.using(atomic=True).enqueue("kept", alias)
    lost = tasks.write_and_refuse.enqueue("lost", alias)

    work()

    kept.refresh()
    lost.refresh()
    assert (kept.status, lost.status) == ("SUCCESSFUL", "FAILED")
    assert list(Note.objects.using(alias).values_list("text", flat=True)) == ["kept"]


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_instances_of_models_are_passed_by_reference(work: Callable[..., bool], alias: str) -> None:
    from tests.shop.models import Note

    note = Note.objects.using(alias).create(text="before")
    read, gone, discarded = (
        tasks.read_note.using(missing=missing).enqueue(note) for missing in ("fail", "fail", "discard")
    )
    Note.objects.using(alias).update(text="after")
    work_on(read.id, work, alias)

    read.refresh()
    assert read.return_value == "after"
    assert read.args[0].keys() >= {"pk"}

    Note.objects.using(alias).all().delete()
    work()

    gone.refresh()
    discarded.refresh()
    assert (gone.status, gone.attempts, discarded.status) == ("FAILED", 1, "SUCCESSFUL")
    assert gone.errors[0].exception_class_path == "soniq.errors.ReferenceGone"


def work_on(job_id: str, work: Callable[..., bool], alias: str) -> None:
    """Run one job alone."""
    from soniq_django.models import Job

    others = Job.objects.using(alias).filter(status="queued").exclude(pk=job_id)
    others.update(queue="emails")
    work(queues=["default"])
