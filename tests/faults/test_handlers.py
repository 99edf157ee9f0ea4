"""A program enqueues from the handlers of its signals, which interrupt it anywhere."""

import json
import subprocess
import sys

import pytest

from tests.faults.harness.workers import environment_of
from tests.support.docs import ROOT

pytestmark = pytest.mark.faults


def run_interrupted(world, how, signals):
    """What the program says it did; it has to end, and well."""
    command = [sys.executable, "-W", "error", "-m", "tests.faults.work.interrupted", how, str(signals)]
    done = subprocess.run(
        command,
        env=environment_of(world.database, world.soniq),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,  # a handler that waits for what it has interrupted waits for ever
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    said = json.loads(done.stdout.splitlines()[-1])
    world.enqueued += said["handler"] + said["program"]
    return said


def test_a_handler_that_starts_a_thread_enqueues_whatever_it_interrupts(world):
    """On every database; neither its jobs nor those of the program are lost."""
    said = run_interrupted(world, "thread", 60)
    assert len(said["handler"]) == 60
    assert not said["refused"]
    world.start()
    world.finish()
    assert world.ledger.count("started") == len(world.enqueued)


def test_a_handler_that_interrupts_a_program_at_rest_enqueues_itself(world):
    """It has the connection for itself."""
    said = run_interrupted(world, "rest", 60)
    assert len(said["handler"]) == 60
    world.start()
    world.finish()
    assert world.ledger.count("started") == 60


def test_a_handler_that_interrupts_a_statement_is_refused_and_waits_for_nobody(postgres):
    """psycopg would wait for the lock that the interrupted statement holds. Between statements it works."""
    said = run_interrupted(postgres, "direct", 400)
    assert said["refused"]
    assert len(said["handler"]) + len(said["refused"]) == 400
    assert "in the middle of a statement" in said["refused"][0]
    postgres.start()
    postgres.finish()
    assert postgres.ledger.count("started") == len(postgres.enqueued)
