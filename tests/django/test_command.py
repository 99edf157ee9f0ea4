"""``soniq_worker`` called from other programs, and where it must not run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command

from soniq import ConfigurationError, Soniq, get_default_app
from soniq_django.management.commands import soniq_worker
from tests.support.commands import run
from tests.support.vendors import ONE
from tests.yard.jobs import noop, overrun


@pytest.mark.slow
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_call_command_returns_to_its_caller(app: Soniq, alias: str, tmp_path: Path) -> None:
    """Even after a job whose thread could not be stopped: only as a program it ends the process."""
    overrun.enqueue()
    noop.enqueue()
    (tmp_path / "caller_settings.py").write_text(
        f"from tests.settings import *\nSONIQ = {{'DATABASE': {alias!r}}}\n"
    )
    caller = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('soniq_worker', run_once=True, verbosity=0)\n"
        "print('the caller went on')\n"
    )

    process = subprocess.run(
        [sys.executable, "-c", caller],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "caller_settings",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())]),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert process.stdout == "the caller went on\n"
    assert app.backend.queue_stats()["done"] == 1
    assert app.backend.queue_stats()["dead_letter"] == 1


@pytest.mark.django_db
def test_a_worker_does_not_start_inside_a_transaction() -> None:
    """It has connections of its own, and would not see what the test wrote."""
    with pytest.raises(CommandError, match=r"cannot run inside a transaction of 'default'.*soniq_app"):
        call_command("soniq_worker", run_once=True, verbosity=0)
    with pytest.raises(ConfigurationError, match="cannot run inside a transaction"):
        async_to_sync(get_default_app().run_worker)(run_once=True)


# -- what is refused before anything runs; what programs make of it is in test_deploys.py


@pytest.fixture
def unsupervised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that would start processes fails the test instead."""
    monkeypatch.setattr(soniq_worker, "Supervisor", None)


refuses = pytest.mark.parametrize("alias", ONE)


@refuses
@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--queues", "a,,b"), "'' is no queue name"),
        (("--queues", "with space"), "'with space' is no queue name"),
        (("--concurrency", "0"), "--concurrency is 0: give 1 or more"),
        (("--concurrency", "-3"), "concurrency is -3: give 1 or more"),
        (("--processes", "0"), "--processes is 0: give 1 or more"),
        (("--processes", "2", "--queues", "with space"), "'with space' is no queue name"),
        (("--concurrency", "many"), "invalid int value: 'many'"),
    ],
)
def test_bad_options_are_refused_in_one_line(app: Soniq, unsupervised: None, arguments, complaint) -> None:
    """Nothing is started, and the message names the value."""
    waiting = noop.enqueue()

    told = run("soniq_worker", "--run-once", *arguments)

    assert told.code != 0
    assert complaint in told.err
    assert told.err.count("\n") == 1
    assert app.backend.get_job(waiting).status == "queued"


@refuses
@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (("--max-jobs", "0"), "max_jobs is 0: give 1 or more"),
        (("--max-memory", "0"), "max_memory is 0: give 1 or more megabytes"),
        (("--max-memory", "5"), "max_memory is 5 MB, and the process takes"),
    ],
)
def test_limits_that_would_recycle_for_ever_are_refused(
    app: Soniq, unsupervised: None, processes, option, complaint
) -> None:
    told = run("soniq_worker", "--run-once", "--processes", processes, *option)

    assert (told.code, told.out) == (1, "")
    assert told.err.startswith(complaint)
