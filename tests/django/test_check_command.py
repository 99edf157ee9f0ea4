"""``manage.py soniq_check``: what it says, and its exit code."""

from __future__ import annotations

import json
import os
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from soniq import Soniq
from soniq_django.models import Job, Schedule
from soniq_django.store.schema import unapplied_migrations
from tests.shop.jobs import resize_picture, send_receipt
from tests.support.scratch import Project, empty_database, unreachable_database
from tests.support.vendors import ALIASES, POSTGRES

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def check(*arguments: str) -> tuple[int, str]:
    """The exit code and what was written."""
    out = StringIO()
    try:
        call_command("soniq_check", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def rename(alias: str, job_id: str, name: str) -> None:
    """As if the code had another name when the job was enqueued."""
    Job.objects.using(alias).filter(pk=job_id).update(job_name=name)


def test_an_empty_table_is_fine(app: Soniq) -> None:
    assert check() == (0, "This code can run all there is: 0 jobs.\n")


def test_jobs_that_can_run_are_fine_and_quiet_on_demand(app: Soniq) -> None:
    send_receipt.enqueue(order_id=1)
    send_receipt.using(scheduled_at=3600).enqueue(order_id=1)

    assert check() == (0, "This code can run all there is: 2 jobs.\n")
    assert check("--verbosity=0") == (0, "")


def test_what_cannot_run_is_told_and_the_exit_code_is_1(app: Soniq, alias: str) -> None:
    rename(alias, send_receipt.enqueue(order_id=1), "shop.send_recipe")
    rename(alias, send_receipt.using(scheduled_at=60).enqueue(order_id=1), "shop.send_recipe")
    broken = resize_picture.enqueue(path="a.png")
    Job.objects.using(alias).filter(pk=broken).update(args={"file": "a.png"})
    send_receipt.enqueue(order_id=1)

    code, told = check()

    assert code == 1
    unknown, refused, summary = told.splitlines()
    assert unknown == (
        "shop.send_recipe: 2 jobs queued in emails, the oldest enqueued 0 s ago: "
        "no job named 'shop.send_recipe' is registered; did you mean 'shop.send_receipt'?"
    )
    assert refused.startswith("shop.resize_picture: 1 job queued in pictures, the oldest enqueued 0 s ago: ")
    assert refused.endswith(f"missing a required argument: 'path' (such as {broken})")
    assert summary == "This code cannot run 3 of 4 jobs."


def test_the_report_is_json_on_demand(app: Soniq, alias: str) -> None:
    gone = send_receipt.enqueue(order_id=1)
    rename(alias, gone, "shop.gone")

    code, told = check("--json")

    report = json.loads(told)
    assert code == 1
    assert report["ok"] is False
    assert (report["live"], report["examined"], report["unapplied_migrations"]) == (1, 1, [])
    [finding] = report["findings"]
    assert finding.pop("oldest") == app.backend.get_job(gone).created_at.isoformat()
    assert finding == {
        "kind": "unknown_job",
        "job_name": "shop.gone",
        "queue": "emails",
        "status": "queued",
        "count": 1,
        "reason": "no job named 'shop.gone' is registered; is the module that declares it imported?",
        "example": None,
    }


def test_json_says_that_all_is_well(app: Soniq) -> None:
    code, told = check("--json")

    assert (code, json.loads(told)["ok"]) == (0, True)


def test_schedules_that_cannot_fire_are_told(app: Soniq, alias: str) -> None:
    for name in ("gone", "odd", "right"):
        app.scheduler.add_now(send_receipt, name=name, args={"order_id": 1}, every=60)
    rows = Schedule.objects.using(alias)
    rows.filter(name="gone").update(job_name="shop.send_recipe")
    rows.filter(name="odd").update(args_json='{"order": 1}')

    code, told = check()

    assert code == 1
    lines = told.splitlines()
    assert lines[0].startswith("schedule gone of shop.send_recipe, active: no job named 'shop.send_recipe'")
    assert lines[1].startswith("schedule odd of ")
    assert "order_id" in lines[1]
    assert lines[2:] == ["This code cannot fire 2 schedules."]
    report = json.loads(check("--json")[1])
    assert (report["ok"], report["findings"]) == (False, [])
    assert [finding["kind"] for finding in report["schedules"]] == ["unknown_job", "invalid_arguments"]
    rows.filter(name__in=("gone", "odd")).update(next_fire_at=None)  # they have ended
    assert check()[0] == 0


def test_a_sample_says_that_it_is_one(app: Soniq) -> None:
    send_receipt.enqueue_many([{"order_id": number} for number in range(5)])

    assert check("--sample=2") == (
        0,
        "This code can run all there is: 5 jobs.\nThe arguments of 2 were looked at.\n",
    )


def test_a_name_cannot_forge_a_line_of_the_report(app: Soniq, alias: str) -> None:
    rename(alias, send_receipt.enqueue(order_id=1), "x\nThis code can run all there is")

    _, told = check()

    assert len(told.splitlines()) == 2
    assert told.startswith("'x\\nThis code can run")


def test_a_negative_sample_is_refused(app: Soniq) -> None:
    with pytest.raises(CommandError, match="--sample is -1: give 0 or more") as caught:
        call_command("soniq_check", "--sample=-1")
    assert caught.value.returncode == 2


def test_a_migration_that_is_not_applied_is_found(app: Soniq, alias: str) -> None:
    """Though the tables are there: they may be those of an older release."""
    with connections[alias].cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET app = 'other' WHERE app = 'soniq_django'")
    try:
        code, told = check()
        report = json.loads(check("--json")[1])
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute("UPDATE django_migrations SET app = 'soniq_django' WHERE app = 'other'")

    assert code == 1
    assert f"{alias}: migrations of soniq_django are not applied: 0001_initial" in told
    assert "run manage.py migrate" in told
    assert report["ok"] is False
    assert report["unapplied_migrations"][0] == "0001_initial"


def test_a_project_without_migrations_lacks_none(app: Soniq, alias: str, settings) -> None:
    """Such as a test run that makes its tables without them."""
    with connections[alias].cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET app = 'other' WHERE app = 'soniq_django'")
    try:
        assert unapplied_migrations(alias) != []
        settings.MIGRATION_MODULES = {"soniq_django": None}
        assert unapplied_migrations(alias) == []
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute("UPDATE django_migrations SET app = 'soniq_django' WHERE app = 'other'")


@pytest.mark.parametrize("alias", POSTGRES)
def test_a_role_that_may_not_read_djangos_table_is_taken_at_its_word(app: Soniq, alias: str) -> None:
    """It may be allowed no more than the queue's own tables."""
    role = f"soniq_limited_{os.getpid()}"
    with connections[alias].cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}")
        try:
            cursor.execute(f"SET ROLE {role}")
            assert unapplied_migrations(alias) == []
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute(f"DROP ROLE {role}")


@pytest.mark.slow
@pytest.mark.parametrize("alias", ALIASES)
def test_an_empty_database_is_told_from_one_without_jobs(alias: str, tmp_path: Path) -> None:
    """As a program: one line that says what to do, no traceback, no progress bar in a pipe."""
    with empty_database(alias, tmp_path) as database:
        project = Project(tmp_path, database=database)
        before = project.run("soniq_check")
        migrated = project.run("migrate", "soniq_django")
        after = project.run("soniq_check")

    assert before.returncode == 1
    assert before.stdout.startswith("default: migrations of soniq_django are not applied: 0001_initial")
    assert before.stderr == ""
    assert migrated.returncode == 0, migrated.stderr
    assert (after.returncode, after.stdout, after.stderr) == (
        0,
        "This code can run all there is: 0 jobs.\n",
        "",
    )


@pytest.mark.slow
@pytest.mark.parametrize("alias", ALIASES)
def test_a_database_out_of_reach_is_exit_code_2(alias: str, tmp_path: Path) -> None:
    """Not knowing is neither well nor ill."""
    project = Project(tmp_path, database=unreachable_database(alias, tmp_path))

    for arguments in ((), ("--json",)):
        result = project.run("soniq_check", *arguments)
        assert result.returncode == 2, result
        assert result.stdout == ""
        assert result.stderr.startswith("CommandError: cannot check: default: ")
        assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_an_option_that_is_not_there_is_exit_code_2(tmp_path: Path) -> None:
    assert Project(tmp_path).run("soniq_check", "--sampel").returncode == 2


@pytest.mark.slow
def test_the_help_says_what_the_exit_codes_mean(tmp_path: Path) -> None:
    told = " ".join(Project(tmp_path).run("soniq_check", "--help").stdout.split())

    assert "Exit code 0: all is well; 1: something was found; 2: it could not be checked." in told
