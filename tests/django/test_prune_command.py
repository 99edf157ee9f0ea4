"""``soniq_prune``: what goes, and what stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from soniq import Soniq
from soniq_django.models import DeadLetterJob, Job
from soniq_django.store import pruning
from tests.support.commands import Told, run

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def prune(alias: str, *arguments: str) -> Told:
    return run("soniq_prune", *arguments, "--database", alias)


def ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


def job(alias: str, status: str, *, finished: float | None = None, expires: float | None = None) -> str:
    """A row that finished so many hours ago, and expired so many hours ago."""
    made = Job.objects.using(alias).create(
        job_name="x",
        status=status,
        finished_at=None if finished is None else ago(finished),
        expires_at=None if expires is None else ago(expires),
    )
    return str(made.pk)


def letter(alias: str, hours: float) -> str:
    made = DeadLetterJob.objects.using(alias).create(
        id=uuid4(), job_name="x", queue="q", priority=1, args={}, max_attempts=1, attempts=1,
        dead_letter_reason="timeout", original_created_at=ago(hours), moved_to_dead_letter_at=ago(hours),
    )  # fmt: skip
    return str(made.pk)


def left(alias: str) -> set[str]:
    return {
        str(pk)
        for model in (Job, DeadLetterJob)
        for pk in model.objects.using(alias).values_list("pk", flat=True)
    }


def test_finished_jobs_past_their_time_go_and_nothing_else(app: Soniq, alias: str) -> None:
    job(alias, "done", finished=2, expires=1)
    job(alias, "cancelled", finished=2, expires=1)
    kept = {
        job(alias, "done", finished=2, expires=-1),
        job(alias, "done", finished=2),
        job(alias, "queued"),
        job(alias, "processing"),
        letter(alias, 5000),
    }

    assert prune(alias) == Told("Removed 2 finished jobs.\n", "", 0)
    assert left(alias) == kept
    assert prune(alias, "-v", "0") == Told("", "", 0)


def test_a_dry_run_removes_nothing(app: Soniq, alias: str) -> None:
    there = {job(alias, "done", finished=2, expires=1), letter(alias, 50)}

    told = prune(alias, "--dry-run", "--dead-letters", "1")

    assert told.out == "Would remove 1 finished job and 1 dead letter.\n"
    assert left(alias) == there


def test_by_age_it_goes_through_the_whole_table_in_batches(app: Soniq, alias: str, monkeypatch) -> None:
    monkeypatch.setattr(pruning.remove_by_id, "__kwdefaults__", {"batch": 2})
    kept = {job(alias, "queued")}
    for hours in (30, 40, 50, 60, 70):
        job(alias, "done", finished=hours, expires=-1)
        kept.add(job(alias, "done", finished=1, expires=-1))

    assert prune(alias, "--older-than", "1").out == "Removed 5 finished jobs.\n"
    assert left(alias) == kept


def test_one_status_alone_can_be_meant(app: Soniq, alias: str) -> None:
    kept = {job(alias, "done", finished=3, expires=1)}
    job(alias, "cancelled", finished=3, expires=1)

    assert prune(alias, "--status", "cancelled").out == "Removed 1 finished job.\n"
    assert prune(alias, "--status", "cancelled", "--older-than", "1h").out == "Removed 0 finished jobs.\n"
    assert left(alias) == kept


def test_a_status_that_is_not_finished_is_refused(app: Soniq, alias: str) -> None:
    assert "invalid choice: 'queued'" in prune(alias, "--status", "queued").err


def test_old_dead_letters_go_on_demand(app: Soniq, alias: str) -> None:
    letter(alias, 49)
    kept = {letter(alias, 47)}

    assert prune(alias, "--dead-letters", "2").out == "Removed 0 finished jobs and 1 dead letter.\n"
    assert left(alias) == kept


def test_the_setting_says_how_long_dead_letters_stay(app: Soniq, alias: str, settings) -> None:
    settings.SONIQ = {"DATABASE": alias, "DEAD_LETTER_TTL": 3600}
    letter(alias, 2)

    assert run("soniq_prune").out == "Removed 0 finished jobs and 1 dead letter.\n"


def test_ctrl_c_ends_it_with_a_line_that_says_how_far_it_got(app: Soniq, alias: str, monkeypatch) -> None:
    job(alias, "done", finished=2, expires=1)
    batches = pruning.remove

    def interrupted(*args, **kwargs):
        yield from batches(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning, "remove", interrupted)

    assert prune(alias) == Told("", "interrupted; removed 1 finished job so far\n", 130)
    assert left(alias) == set()
