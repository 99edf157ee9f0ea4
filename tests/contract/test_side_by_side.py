"""All stores, driven by the same random steps, say and hold what a model of the contract does.

`SONIQ_TEST_EXAMPLES=500 SONIQ_TEST_STEPS=50` makes a long run of it. A failure prints the steps that
lead to it as a program, and the blob that repeats it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.jobs import Jobs
from tests.contract.others import DeadLetters, Looks, Workers
from tests.contract.schedules import Schedules
from tests.contract.stores import DjangoStore, Store, all_stores
from tests.support.vendors import POSTGRES

EXAMPLES = int(os.environ.get("SONIQ_TEST_EXAMPLES", "20"))
STEPS = int(os.environ.get("SONIQ_TEST_STEPS", "30"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.timeout(600 + EXAMPLES * STEPS),  # a failure is shortened for up to five minutes
]


class Contract(Jobs, Workers, DeadLetters, Looks, Schedules):
    """Every operation of the contract."""


def drive(stores: list[Store], examples: int) -> None:
    class Driven(Contract):
        pass

    Driven.stores = stores
    run_state_machine_as_test(
        Driven,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_all_stores_do_what_the_model_does(tmp_path: Path) -> None:
    with all_stores(tmp_path) as stores:
        drive(stores, EXAMPLES)


@pytest.mark.parametrize("alias", POSTGRES)
def test_a_long_lived_store_gives_what_is_due_whatever_it_remembers(alias: str) -> None:
    """Each claim starts where the last one ended, so the order is its own; nothing else is."""
    drive([DjangoStore(alias, long_lived=True)], EXAMPLES)
