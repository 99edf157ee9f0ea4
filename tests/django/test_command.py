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
from tests.yard.jobs import noop, overrun


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
