"""Workers while a project is deployed: unapplied migrations, names of other releases, recycling."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from soniq import DeadLetterFilter, Soniq
from soniq.testing.conformance.support import wait_until
from soniq_django.models import Job
from tests.support.scratch import Project, empty_database
from tests.support.vendors import ALIASES, ONE
from tests.yard.jobs import hoard, noop, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True, databases="__all__")]

QUICK = {"SHUTDOWN_TIMEOUT": 1.0, "POLL_INTERVAL": 0.1, "SWEEP_INTERVAL": 0.1}
FORGET = "UPDATE django_migrations SET app = 'other' WHERE app = 'soniq_django'"
REMEMBER = "UPDATE django_migrations SET app = 'soniq_django' WHERE app = 'other'"


@pytest.fixture
def project(alias: str, tmp_path: Path) -> Project:
    """The test project on the test's database."""
    return Project(tmp_path, soniq={"DATABASE": alias, **QUICK})


def sql(project: Project, statement: str) -> None:
    code = f"from django.db import connection; connection.cursor().execute({statement!r})"
    result = project.run("shell", "-c", code)
    assert result.returncode == 0, result.stderr


def in_time(condition: Callable[[], object]) -> None:
    """Wait for what another process brings about."""
    wait_until(condition, seconds=30)


# -- migrations


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("behind", [False, True], ids=["no tables", "one migration behind"])
def test_a_worker_waits_for_migrations_and_goes_on_by_itself(
    alias: str, tmp_path: Path, behind: bool
) -> None:
    with empty_database(alias, tmp_path) as database:
        project = Project(tmp_path, database=database, soniq=QUICK)
        if behind:
            assert project.run("migrate").returncode == 0
            sql(project, FORGET)
        with project.start("soniq_worker") as worker:
            worker.says("the storage is not ready, trying again in", times=2)
            worker.says("default: migrations of soniq_django are not applied: 0001_initial")
            worker.says("run manage.py migrate")
            if behind:
                sql(project, REMEMBER)
            else:
                assert project.run("migrate").returncode == 0
            enqueued = project.run("shell", "-c", "from tests.yard.jobs import noop; noop.enqueue()")
            assert enqueued.returncode == 0, enqueued.stderr
            worker.says("done      yard.noop")
            worker.process.send_signal(signal.SIGTERM)
            assert worker.ends() == 0
            assert "Traceback" not in worker.output


@pytest.mark.parametrize("alias", ONE)
def test_a_worker_that_waits_for_migrations_can_be_stopped(alias: str, tmp_path: Path) -> None:
    with empty_database(alias, tmp_path) as database:
        project = Project(tmp_path, database=database, soniq=QUICK)
        for arguments in ((), ("--processes", "2")):
            with project.start("soniq_worker", *arguments) as worker:
                worker.says("the storage is not ready", times=1 if not arguments else 2)
                worker.process.send_signal(signal.SIGTERM)
                assert worker.ends() == 0
                assert "Traceback" not in worker.output


# -- names of other releases


def enqueued_as(alias: str, name: str) -> str:
    """A job of a release that has this name."""
    job_id = noop.using(scheduled_at=3600).enqueue()
    Job.objects.using(alias).filter(pk=job_id).update(job_name=name, scheduled_at="2024-01-01T00:00Z")
    return job_id


def test_a_job_of_another_release_is_told_and_waits(app: Soniq, alias: str, project: Project) -> None:
    job_id = enqueued_as(alias, "shop.of_tomorrow")

    with project.start("soniq_worker") as worker:
        worker.says("this one does not: 'shop.of_tomorrow' (1 job, the first due for")
        noop.enqueue()
        worker.says("done      yard.noop")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.ends() == 0

    assert app.backend.get_job(job_id).status == "queued"
    assert worker.output.count("of_tomorrow") == 1


def test_a_job_that_nobody_knows_is_given_up_after_the_limit(app: Soniq, alias: str, tmp_path: Path) -> None:
    job_id = enqueued_as(alias, "shop.of_yesterday")
    project = Project(tmp_path, soniq={"DATABASE": alias, **QUICK, "UNKNOWN_JOB_TTL": 3600})

    with project.start("soniq_worker") as worker:
        worker.says("gave up jobs that no worker knew within 60 min: 'shop.of_yesterday' (1 job")

    [letter] = app.backend.list_dead_letters(DeadLetterFilter())
    assert (letter.id, letter.dead_letter_reason) == (job_id, "job_not_found")


# -- recycling


@pytest.mark.parametrize("alias", ONE)
def test_a_worker_leaves_after_as_many_jobs_as_it_may_start(app: Soniq, project: Project) -> None:
    noop.enqueue_many([{}] * 40)

    with project.start("soniq_worker", "--max-jobs", "7", "--concurrency", "3") as worker:
        assert worker.ends() == 0

    stats = app.backend.queue_stats()
    assert (stats["done"], stats["queued"], stats["processing"]) == (7, 33, 0)
    assert "finishes what runs and leaves: it has started 7 of at most 7 jobs" in worker.output
    assert "Stopped after 7 jobs." in worker.output
    assert app.backend.list_workers() == []


@pytest.mark.parametrize("alias", ONE)
def test_a_drain_may_be_cut_short(app: Soniq, project: Project) -> None:
    noop.enqueue_many([{}] * 5)

    with project.start("soniq_worker", "--run-once", "--max-jobs", "2") as worker:
        assert worker.ends() == 0

    assert app.backend.queue_stats()["queued"] == 3


@pytest.mark.parametrize("alias", ONE)
def test_a_worker_leaves_when_it_takes_too_much_memory(app: Soniq, project: Project) -> None:
    modest = noop.enqueue()
    with project.start("soniq_worker", "--max-memory", "250", "--concurrency", "1") as worker:
        in_time(lambda: app.backend.get_job(modest).status == "done")
        greedy = hoard.enqueue(megabytes=300)
        assert worker.ends() == 0

    assert re.search(r"leaves: it takes \d+ MB of at most 250 MB of memory", worker.output)
    assert app.backend.get_job(greedy).status == "done"
    assert app.backend.list_workers() == []


@pytest.mark.parametrize("alias", ONE)
def test_a_recycled_worker_waits_for_its_long_job(app: Soniq, project: Project, tmp_path: Path) -> None:
    """Longer than the shutdown timeout: nobody asked the worker to hurry."""
    started, proceed = tmp_path / "started", tmp_path / "proceed"
    long = wait_for.enqueue(started=str(started), proceed=str(proceed))
    with project.start("soniq_worker", "--max-jobs", "2", "--concurrency", "2") as worker:
        in_time(started.exists)
        noop.enqueue_many([{}] * 3)
        worker.says("leaves: it has started 2 of at most 2 jobs")
        with pytest.raises(AssertionError, match="it goes on"):
            worker.ends(patience=2 * QUICK["SHUTDOWN_TIMEOUT"])
        proceed.touch()
        assert worker.ends() == 0

    job = app.backend.get_job(long)
    assert (job.status, job.attempts) == ("done", 1)
    assert app.backend.queue_stats()["queued"] == 2


@pytest.mark.parametrize("alias", ONE)
def test_a_recycled_worker_can_be_stopped_like_any_other(
    app: Soniq, project: Project, tmp_path: Path
) -> None:
    """What it waits for is given back after the shutdown timeout."""
    started = tmp_path / "started"
    long = wait_for.enqueue(started=str(started), proceed=str(tmp_path / "never"))
    with project.start("soniq_worker", "--max-jobs", "1") as worker:
        in_time(started.exists)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.ends() == 0

    job = app.backend.get_job(long)
    assert (job.status, job.attempts) == ("queued", 0)


@pytest.mark.parametrize("alias", ONE)
def test_recycled_processes_are_replaced_at_once(app: Soniq, project: Project) -> None:
    """Recycling is no crash: no back-off, no warning, until all is done."""
    noop.enqueue_many([{}] * 12)

    with project.start("soniq_worker", "--processes", "2", "--max-jobs", "3") as supervisor:
        in_time(lambda: app.backend.queue_stats()["done"] == 12)
        supervisor.says("has left; starting its successor", times=3)
        supervisor.process.send_signal(signal.SIGTERM)
        assert supervisor.ends() == 0

    assert "starting it anew" not in supervisor.output
    counts = [int(count) for count in re.findall(r"Stopped after (\d+) job", supervisor.output)]
    assert sum(counts) == 12
    assert max(counts) == 3


# -- exit codes


@pytest.mark.parametrize("alias", ONE)
def test_processes_stopped_while_they_start_are_no_failure(app: Soniq, project: Project) -> None:
    """The signal meets them before they handle signals; they have claimed nothing."""
    with project.start("soniq_worker", "--processes", "2", "--verbosity", "2") as supervisor:
        supervisor.says("started worker process 2 of 2")
        supervisor.process.send_signal(signal.SIGTERM)
        assert supervisor.ends() == 0

    assert "Traceback" not in supervisor.output


@pytest.mark.parametrize("alias", ONE)
def test_exit_codes_are_those_of_the_documentation(app: Soniq, alias: str, tmp_path: Path) -> None:
    project = Project(tmp_path, soniq={"DATABASE": alias, **QUICK})
    assert project.run("soniq_worker", "--run-once").returncode == 0
    assert project.run("soniq_worker", "--queues", "no such queue").returncode == 1
    assert project.run("soniq_worker", "--queue-names", "a").returncode == 2
    assert project.run("soniq_worker", "--concurrency", "many").returncode == 2
    with project.start("soniq_worker") as worker:
        in_time(app.backend.list_workers)
        worker.process.send_signal(signal.SIGINT)
        assert worker.ends() == 0


def test_a_setting_that_cannot_be_is_exit_code_1(tmp_path: Path) -> None:
    result = Project(tmp_path, soniq={"CONCURRENCY": 0}).run("soniq_worker")

    assert result.returncode == 1
    assert "settings.SONIQ: CONCURRENCY is 0" in result.stderr


@pytest.mark.parametrize("alias", ONE)
def test_a_killed_process_of_a_drain_is_exit_code_137(app: Soniq, project: Project, tmp_path: Path) -> None:
    started = tmp_path / "started"
    wait_for.enqueue(started=str(started), proceed=str(tmp_path / "never"))
    with project.start("soniq_worker", "--run-once", "--processes", "2") as supervisor:
        in_time(started.exists)
        holder = app.backend.list_jobs(status=None)[0].worker_id
        [pid] = [worker.pid for worker in app.backend.list_workers() if worker.id == holder]
        os.kill(pid, signal.SIGKILL)
        assert supervisor.ends() == 128 + signal.SIGKILL


@pytest.mark.parametrize("alias", ONE)
def test_a_drain_gives_up_waiting_in_one_line(alias: str, tmp_path: Path) -> None:
    """Exit code 1, for whoever runs it from a script."""
    with empty_database(alias, tmp_path) as database:
        project = Project(
            tmp_path,
            database=database,
            extra="import soniq.worker\nsoniq.worker.DRAIN_PATIENCE = 1.0",
        )
        result = project.run("soniq_worker", "--run-once")

    assert result.returncode == 1
    assert "CommandError: default: migrations of soniq_django are not applied" in result.stderr
    assert "Traceback" not in result.stderr
