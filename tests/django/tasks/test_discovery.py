"""Which tasks a worker knows, and how it finds the others."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soniq import Soniq, get_default_app
from soniq.default import shared
from soniq.testing import wait_until
from soniq_django.task_modules import find_job
from soniq_django.tasks.job import TaskJob
from tests.shop import tasks
from tests.support.task_api import (
    InvalidTask,
    Task,
    TaskResultDoesNotExist,
    default_task_backend,
    task,
    task_backends,
)

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

HIDDEN = "tests.yard.chores.sweep"


@pytest.fixture
def forgotten() -> Any:
    """Nobody has imported the chores, as in a worker that has just started."""

    def forget() -> None:
        sys.modules.pop("tests.yard.chores", None)
        shared._tasks.pop(HIDDEN, None)
        shared.resolve_with(find_job)

    forget()
    yield
    forget()


def stored(app: Soniq, name: str, **args: Any) -> str:
    """A job of a name that this process does not know, as another one stores it."""
    import json

    from soniq.ids import uuid7_text
    from soniq.jobs import NewJob

    job = NewJob(
        id=uuid7_text(),
        job_name=name,
        args_json=json.dumps(args),
        queue="default",
        priority=100,
        max_attempts=1,
        context_json=json.dumps({"task": {"backend": "default"}}),
    )
    return app.backend.enqueue([job])[0]


def test_tasks_of_installed_apps_are_known_from_the_start() -> None:
    assert isinstance(shared.find("tests.shop.tasks.total"), TaskJob)


def test_a_drain_finds_the_module_that_a_job_names(
    app: Soniq, work: Callable[..., bool], forgotten: None
) -> None:
    job_id = stored(app, HIDDEN, **{"*": ["left"]})
    assert shared.find(HIDDEN) is None

    assert work() is True

    assert default_task_backend.get_result(job_id).return_value == "swept left"


def test_a_drain_finds_what_its_own_jobs_enqueue(
    app: Soniq, work: Callable[..., bool], forgotten: None
) -> None:
    ids: list[str] = []

    @app.job
    def parent() -> None:
        ids.append(stored(get_default_app(), HIDDEN, corner="right"))

    app.producer.enqueue(parent, {}, parent.defaults)
    work()

    assert default_task_backend.get_result(ids[0]).return_value == "swept right"


@pytest.mark.slow
async def test_a_worker_at_rest_finds_it_within_moments(app: Soniq, forgotten: None) -> None:
    """Long before its sweep would look for unknown names, and with no job of its own to do."""
    worker = app.worker(concurrency=1)
    running = asyncio.create_task(worker.run())
    await app.enqueue(shared.get("yard.noop"))
    await wait_until(lambda: worker.processed == 1)

    job_id = await app.backend.run(stored, app, HIDDEN, corner="right")

    await wait_until(lambda: worker.processed == 2, timeout=10)
    worker.stop()
    await running
    result = await default_task_backend.aget_result(job_id)
    assert result.return_value == "swept right"


@pytest.mark.parametrize(
    "name",
    [
        "subprocess.check_output",  # no app of ours
        "this.zen",  # and a module that nothing has imported
        "tests.yard.chores.not_a_task",  # not a task
        "tests.yard.chores.missing",
        "tests.yard.nowhere.sweep",
        "tests.shop.tasks.total.func",
        "os",
        "",
        "..",
        "tests.yard.chores.sweep; import os",
    ],
)
def test_a_name_that_is_no_task_of_ours_is_never_run(
    app: Soniq, work: Callable[..., bool], forgotten: None, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Names stand in a table, and are no reason to import or call anything else."""
    imported = set(sys.modules)
    job_id = stored(app, name or "x", **{"*": [["true"]]})

    work()

    assert (app.backend.get_job(job_id).status, find_job(name)) == ("queued", None)
    assert not {module for module in set(sys.modules) - imported if not module.startswith("tests.")}


def test_a_module_that_cannot_be_imported_is_logged_once(
    app: Soniq, work: Callable[..., bool], forgotten: None, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, "tests.yard.chores", None)  # which makes its import fail
    stored(app, HIDDEN)

    work()
    work()

    assert [r.levelno for r in caplog.records if r.name == "soniq.tasks"] == [logging.ERROR]


def test_the_result_of_deleted_code_can_still_be_read(app: Soniq) -> None:
    """As long as its row is there; calling it says what is missing."""
    job_id = stored(app, "tests.shop.tasks.deleted", **{"*": [1], "two": 2})

    result = default_task_backend.get_result(job_id)

    assert (result.task.module_path, result.task.name) == ("tests.shop.tasks.deleted", "deleted")
    assert (result.status, result.args, result.kwargs) == ("READY", [1], {"two": 2})
    assert default_task_backend.get_result(job_id) == result
    result.refresh()
    with pytest.raises(Exception, match=r"no job named 'tests\.shop\.tasks\.deleted'"):
        result.task.call()


@pytest.mark.parametrize("use", ["using", "enqueue"])
def test_a_task_whose_code_is_gone_cannot_be_enqueued_and_no_worker_takes_its_jobs(
    app: Soniq, use: str
) -> None:
    """Whoever got it from a result has no code for it; those that wait are left to workers that have."""
    path = "tests.shop.tasks.deleted"
    result = default_task_backend.get_result(stored(app, path))

    with pytest.raises(InvalidTask, match=rf"no job named '{path}'"):
        result.task.using(priority=3) if use == "using" else result.task.enqueue()

    assert app.registry.find(path) is None


def test_results_survive_what_became_of_the_settings(app: Soniq, settings: Any) -> None:
    """A queue that the backend no longer takes, an alias that is gone."""
    queued = tasks.total.using(queue_name="emails").enqueue(1)
    through = tasks.total.using(backend="slow", queue_name="night").enqueue(2)

    settings.TASKS = {"default": {"BACKEND": "soniq_django.tasks.SoniqBackend"}}

    backend = task_backends["default"]
    assert backend.get_result(queued.id).task.queue_name == "emails"
    assert backend.get_result(through.id).backend == "slow"


def test_rows_that_somebody_edited_do_not_break_results(app: Soniq, alias: str) -> None:
    from soniq_django.models import Job

    for context, args in (
        ({"task": "text"}, [1]),
        ({"task": {"backend": 3, "run_after": "x", "using": [1]}}, "text"),
        ({"task": {"using": {"nonsense": 1, "timeout": "soon"}}}, {"*": 3}),
    ):
        result = tasks.total.enqueue(1)
        Job.objects.using(alias).filter(pk=result.id).update(context=context, args=args)

        assert default_task_backend.get_result(result.id).status == "READY"
    Job.objects.using(alias).update(context=["list"])
    assert default_task_backend.get_result(result.id).status == "READY"


def test_such_rows_do_not_stop_a_worker(app: Soniq, work: Callable[..., bool], alias: str) -> None:
    from soniq_django.models import Job

    bad = tasks.total.enqueue(1)
    Job.objects.using(alias).update(context={"task": {"using": {"timeout": "soon", "retry_delay": "x"}}})
    good = tasks.total.enqueue(2)

    work()

    good.refresh()
    bad.refresh()
    assert good.status == "SUCCESSFUL"
    assert bad.is_finished


def test_a_purged_result_does_not_exist_any_more(app: Soniq, work: Callable[..., bool]) -> None:
    result = tasks.total.using(result_ttl=0).enqueue(1)
    work()

    app.backend.purge(limit=10)

    with pytest.raises(TaskResultDoesNotExist):
        result.refresh()


@pytest.mark.slow
def test_the_native_api_needs_no_tasks_api() -> None:
    """On Django 5.2 without the backport everything works but the backend, which says what to install."""
    program = """
import importlib.util

find = importlib.util.find_spec
hidden = ("django.tasks", "django_tasks")
importlib.util.find_spec = lambda name, *more: None if name in hidden else find(name, *more)

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["soniq_django"],
    DATABASES={},
    TASKS={"default": {"BACKEND": "soniq_django.tasks.SoniqBackend"}},
)
django.setup()
try:
    import soniq_django.tasks
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )

    assert done.returncode == 0, done.stderr
    assert "pip install 'soniq-django[tasks]'" in done.stdout


@pytest.mark.slow
def test_tasks_may_be_declared_before_apps_are_loaded() -> None:
    """As by a models module that imports tasks; the backend is made then, and must not need models."""
    program = """
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["soniq_django"],
    DATABASES={},
    TASKS={"default": {"BACKEND": "soniq_django.tasks.SoniqBackend"}},
)
from tests.support.task_api import task

@task(max_retries=2)
def early():
    pass

django.setup()
from soniq.default import shared
print(shared.get("__main__.early").options.max_retries, early.using(timeout=3).timeout)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )

    assert (done.returncode, done.stdout) == (0, "2 3\n"), done.stderr


def plain(number: int) -> int:
    return number * 2


def test_tasks_of_djangos_own_class_are_run_too(app: Soniq, work: Callable[..., bool], settings: Any) -> None:
    """Such as those that were declared while TASKS named a backend of Django's."""
    ours = settings.TASKS
    root = Task.__module__.split(".base")[0]
    settings.TASKS = {"default": {"BACKEND": f"{root}.backends.immediate.ImmediateBackend"}}
    declared = task(plain)
    assert type(declared) is Task
    settings.TASKS = ours

    result = declared.enqueue(21)
    assert default_task_backend.get_result(result.id) == result
    work()

    result.refresh()
    assert (result.status, result.return_value) == ("SUCCESSFUL", 42)
