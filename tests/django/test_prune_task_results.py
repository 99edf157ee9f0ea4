"""``prune_db_task_results``, for those who come from django-tasks-db: its options, on soniq's tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from soniq import Soniq, transitions
from soniq.jobs import ClaimRequest, DeadLetterReason, WorkerInfo
from soniq_django.commands.places import place
from soniq_django.models import DeadLetterJob, Job
from soniq_django.tasks_db.management.commands import prune_db_task_results
from tests.shop import tasks
from tests.support.commands import run
from tests.support.task_api import TaskResultDoesNotExist
from tests.support.vendors import SQLITE
from tests.yard.jobs import noop

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def _entries(settings: Any) -> None:
    ours = {"BACKEND": "soniq_django.tasks.SoniqBackend", "QUEUES": []}
    dummy = {"BACKEND": "soniq_django.tasks.DummyBackend"}
    settings.TASKS = {"default": ours, "other": ours, "dummy": dummy}


@pytest.fixture
def prune(app: Soniq, alias: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Calls the command; gives what it says. It has no option for where the project keeps its jobs."""
    monkeypatch.setattr(prune_db_task_results, "place", partial(place, alias))

    def call(*arguments: str) -> str:
        told = run(prune_db_task_results.Command(), *arguments)
        assert (told.code, told.err) == (0, "")
        return told.out.strip()

    return call


class Ended:
    """Tasks that ended so many days ago."""

    def __init__(self, app: Soniq, alias: str) -> None:
        self._app = app
        self._alias = alias
        self._worker = str(uuid4())
        app.backend.register(WorkerInfo(id=self._worker, hostname="h", pid=1, concurrency=1))

    def _at(self, days: float) -> datetime:
        return datetime.now(UTC) - timedelta(days=days)

    def done(self, days: float, **using: Any) -> Any:
        result = tasks.total.using(**using).enqueue(1)
        [claim] = self._app.backend.claim(ClaimRequest(worker_id=self._worker, limit=1))
        assert self._app.backend.apply([transitions.succeed(claim, result_json="1", ttl=1e7)]) == [True]
        Job.objects.using(self._alias).filter(pk=result.id).update(finished_at=self._at(days))
        return result

    def failed(self, days: float) -> Any:
        result = tasks.total.enqueue(1)
        [claim] = self._app.backend.claim(ClaimRequest(worker_id=self._worker, limit=1))
        change = transitions.bury(claim, reason=DeadLetterReason.TIMEOUT, error="slow")
        assert self._app.backend.apply([change]) == [True]
        rows = DeadLetterJob.objects.using(self._alias).filter(pk=result.id)
        rows.update(moved_to_dead_letter_at=self._at(days))
        return result

    def cancelled(self, days: float) -> Any:
        result = tasks.total.enqueue(1)
        assert Job.objects.using(self._alias).get(pk=result.id).cancel()
        Job.objects.using(self._alias).filter(pk=result.id).update(finished_at=self._at(days))
        return result


@pytest.fixture
def ended(app: Soniq, alias: str) -> Ended:
    return Ended(app, alias)


def left(*results: Any) -> list[bool]:
    """Which of the results there still are."""
    there = []
    for result in results:
        try:
            result.refresh()
        except TaskResultDoesNotExist:
            there.append(False)
        else:
            there.append(True)
    return there


def test_results_that_are_old_enough_go_and_others_stay(ended: Ended, prune: Callable[..., str]) -> None:
    results = [ended.done(15), ended.failed(15), ended.cancelled(15), ended.done(13), ended.failed(13)]
    waits = tasks.total.enqueue(1)

    assert prune() == "Deleted 3 task result(s)"
    assert left(*results, waits) == [False, False, False, True, True, True]
    assert prune("--min-age-days", "0") == "Deleted 2 task result(s)"
    assert left(waits) == [True]


def test_failures_have_an_age_of_their_own(ended: Ended, prune: Callable[..., str]) -> None:
    results = [ended.done(3), ended.failed(3), ended.cancelled(3)]

    assert prune("--min-age-days", "5", "--failed-min-age-days", "0") == "Deleted 2 task result(s)"
    assert left(*results) == [True, False, False]
    assert prune("--min-age-days", "1", "--failed-min-age-days", "9") == "Deleted 1 task result(s)"


def test_only_the_queues_and_the_backend_that_are_named(ended: Ended, prune: Callable[..., str]) -> None:
    results = [
        ended.done(15),
        ended.done(15, queue_name="emails"),
        ended.done(15, queue_name="night"),
        ended.done(15, backend="other"),
    ]

    assert prune("--queue-name", "emails, night") == "Deleted 2 task result(s)"
    assert left(*results) == [True, False, False, True]
    assert prune("--queue-name", "*", "--backend", "other") == "Deleted 1 task result(s)"
    assert left(*results) == [True, False, False, False]


def test_a_dry_run_counts_and_leaves_everything(ended: Ended, prune: Callable[..., str]) -> None:
    results = [ended.done(15), ended.failed(15)]

    assert prune("--dry-run") == "Would delete 2 task result(s)"
    assert left(*results) == [True, True]
    assert prune("-v", "0") == ""
    assert left(*results) == [False, False]


def test_a_job_that_is_no_task_is_never_touched(app: Soniq, alias: str, prune: Callable[..., str]) -> None:
    job_id = noop.enqueue()
    rows = Job.objects.using(alias).filter(pk=job_id)
    rows.update(status=Job.Status.DONE, finished_at=datetime.now(UTC) - timedelta(days=99))

    assert prune("--queue-name", "*") == "Deleted 0 task result(s)"
    assert rows.exists()


@pytest.mark.parametrize("alias", SQLITE)
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--backend", "unknown"], "The connection 'unknown' doesn't exist"),
        (["--backend", "dummy"], "Backend 'dummy' is not a database backend"),
        (["--min-age-days", "-1"], "Must be greater than zero"),
    ],
)
def test_impossible_options_are_refused(arguments: list[str], told: str, app: Soniq) -> None:
    with pytest.raises(CommandError, match=told):
        call_command(prune_db_task_results.Command(), *arguments)
