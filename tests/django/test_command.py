"""``soniq_worker`` called from other programs, and where it must not run."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command

from soniq import ConfigurationError, Soniq, get_default_app
from tests.yard.jobs import noop, overrun


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_call_command_returns_to_its_caller(app: Soniq) -> None:
    """Even after a job whose thread could not be stopped: only as a program it ends the process."""
    overrun.enqueue()
    noop.enqueue()

    call_command("soniq_worker", run_once=True, verbosity=0)

    assert app.backend.queue_stats()["done"] == 1
    assert app.backend.queue_stats()["dead_letter"] == 1


@pytest.mark.django_db
def test_a_worker_does_not_start_inside_a_transaction() -> None:
    """It has connections of its own, and would not see what the test wrote."""
    with pytest.raises(CommandError, match=r"cannot run inside a transaction of 'default'.*soniq_app"):
        call_command("soniq_worker", run_once=True, verbosity=0)
    with pytest.raises(ConfigurationError, match="cannot run inside a transaction"):
        async_to_sync(get_default_app().run_worker)(run_once=True)
