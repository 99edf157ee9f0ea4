"""``db_worker``, for those who come from django-tasks-db: its options, on soniq's worker."""

from __future__ import annotations

import logging
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from soniq import Soniq
from soniq_django.tasks_db import logs
from soniq_django.tasks_db.management.commands.db_worker import Command
from tests.shop import tasks
from tests.support.scratch import Project
from tests.support.task_api import TaskResultStatus
from tests.support.vendors import SQLITE

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

APP = "INSTALLED_APPS = [*INSTALLED_APPS, 'soniq_django.tasks_db']"
ONE = {"default": {"BACKEND": "soniq_django.tasks.SoniqBackend", "QUEUES": ["default", "emails", "night"]}}


@pytest.fixture(autouse=True)
def _one_backend(settings: Any) -> None:
    settings.TASKS = ONE


def statuses(*results: Any) -> list[str]:
    for result in results:
        result.refresh()
    return [str(result.status) for result in results]


def work(**options: Any) -> None:
    """With what a caller of the original gives; it is a program's worker, in this process."""
    call_command(
        Command(), verbosity=0, batch=True, interval=0, startup_delay=False, worker_id="w1", **options
    )


def queued() -> list[Any]:
    return [tasks.total.using(queue_name=name).enqueue(1) for name in ("default", "emails", "night")]


@pytest.mark.parametrize(
    ("options", "run"),
    [
        ({}, {"default"}),
        ({"queue_name": "emails, night"}, {"emails", "night"}),
        ({"queue_name": "*"}, {"default", "emails", "night"}),
        ({"queue_name": "*", "exclude_queues": "night,unknown"}, {"default", "emails"}),
        ({"queue_name": "*", "backend_name": "default"}, {"default", "emails", "night"}),
    ],
)
def test_it_works_through_the_queues_that_are_named(
    app: Soniq, options: dict[str, Any], run: set[str]
) -> None:
    results = queued()

    work(**options)

    statuses(*results)
    assert {r.task.queue_name for r in results if r.status == TaskResultStatus.SUCCESSFUL} == run


def test_it_leaves_after_so_many_tasks(app: Soniq) -> None:
    results = [tasks.total.enqueue(1) for _ in range(4)]

    work(max_tasks=3)

    assert sorted(statuses(*results)) == ["READY", "SUCCESSFUL", "SUCCESSFUL", "SUCCESSFUL"]


@pytest.mark.parametrize("alias", SQLITE)
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"exclude_queues": "night"}, "--exclude-queues can only be used with --queue-name="),
        ({"queue_name": "*", "exclude_queues": "default,emails,night"}, "leaves no queue"),
        ({"backend_name": "unknown"}, r"give an entry of TASKS that is a SoniqBackend \(default\)"),
        ({"queue_name": "x" * 300}, "--queues: "),
    ],
)
def test_what_cannot_be_is_one_line(app: Soniq, options: dict[str, Any], told: str) -> None:
    [result] = queued()[:1]

    with pytest.raises(CommandError, match=told):
        work(**options)

    assert statuses(result) == ["READY"]


@pytest.mark.parametrize("alias", SQLITE)
def test_entries_that_share_their_workers_cannot_be_picked(app: Soniq, settings: Any) -> None:
    settings.TASKS = {**ONE, "other": {**ONE["default"], "QUEUES": []}}
    with pytest.raises(CommandError, match="default, other share their workers"):
        work(backend_name="other")
    settings.TASKS = {"default": {**ONE["default"], "QUEUES": []}}
    with pytest.raises(CommandError, match="allows any queue; list them in its QUEUES"):
        work(queue_name="*", exclude_queues="night")
    settings.TASKS = {"default": {"BACKEND": "soniq_django.tasks.DummyBackend"}}
    with pytest.raises(CommandError, match="no entry of TASKS is a"):
        work()


@pytest.mark.parametrize("alias", SQLITE)
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--interval", "-1"], "Must be zero or greater"),
        (["--interval", "inf"], "Must be a finite floating point value"),
        (["--max-tasks", "0"], "Must be greater than zero"),
        (["--worker-id", ""], "Worker id must not be empty"),
        (["--worker-id", "w" * 65], "Worker ids must be shorter than 64 characters"),
        (["--backend", "unknown"], "The connection 'unknown' doesn't exist"),
        (["--backend", "dummy"], "Backend 'dummy' is not a database backend"),
    ],
)
def test_impossible_options_are_refused_in_the_words_of_the_original(
    arguments: list[str], told: str, alias: str, settings: Any
) -> None:
    settings.TASKS = {**ONE, "dummy": {"BACKEND": "soniq_django.tasks.DummyBackend"}}
    with pytest.raises(CommandError, match=told):
        call_command(Command(), *arguments)


def test_a_second_call_writes_to_its_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not to that of the first, which may be closed."""
    monkeypatch.setattr(logs, "_is_unheard", lambda one: not one.handlers)
    first, second = StringIO(), StringIO()
    try:
        for stream in (first, second):
            logs.show(1, stream)
            logs.logger.info("hello")
    finally:
        for one in (logs.logger, logging.getLogger(logs.TASKS_LOGGER)):
            one.handlers.clear()
            one.setLevel(logging.NOTSET)

    assert (first.getvalue(), second.getvalue()) == ("hello\n", "hello\n")


@pytest.mark.slow
@pytest.mark.parametrize("alias", SQLITE)
def test_it_is_a_program_of_its_app(app: Soniq, tmp_path: Path) -> None:
    project = Project(tmp_path, extra=APP)
    result = tasks.total.enqueue(1)

    ended = project.run(
        "db_worker", "--batch", "--no-startup-delay", "--worker-id", "web-1", "--interval", "0.1"
    )

    assert ended.returncode == 0, ended.stderr
    assert statuses(result) == ["SUCCESSFUL"]
    with project.start("db_worker", "--no-reload", "--worker-id", "web-1") as running:
        result = tasks.total.enqueue(2)
        running.says(f"Task id={result.id} path=tests.shop.tasks.total state=SUCCESSFUL")
        running.process.terminate()
        assert running.ends() == 0, running.output
    assert "Stopped worker_id=web-1 - exiting gracefully." in running.output


@pytest.mark.slow
@pytest.mark.parametrize("alias", SQLITE)
def test_who_watches_its_output_finds_the_lines_of_the_original(app: Soniq, tmp_path: Path) -> None:
    project = Project(tmp_path, extra=APP)
    first, second = tasks.total.enqueue(1), tasks.total.enqueue(1)

    ended = [
        project.run("db_worker", "--batch", "--worker-id", "web-1", *more)
        for more in (["--max-tasks", "1"], ["-v", "3"], ["-v", "0"])
    ]

    def lines(result: Any) -> list[str]:
        return [
            f"Task id={result.id} path=tests.shop.tasks.total state={state}"
            for state in ("RUNNING", "SUCCESSFUL")
        ]

    start = "Starting worker worker_id=web-1 queues=default"
    assert [one.stdout.splitlines() for one in ended] == [
        [start, *lines(first), "Run maximum tasks (1) on worker=web-1 - exiting gracefully."],
        [start, *lines(second), "No more tasks to run for worker_id=web-1 - exiting gracefully."],
        [],
    ]
    assert [one.stderr for one in ended] == ["", "", ""]
