"""A program enqueues from the handlers of its signals, which interrupt it anywhere."""

import json
import subprocess
import sys

import pytest

from soniq_django.models import Job
from tests.faults.harness.workers import environment_of
from tests.support.docs import ROOT

pytestmark = pytest.mark.faults


def run_interrupted(world, chance, how, signals):
    """What the program says it did; it has to end, and well."""
    seed = str(chance.randrange(1 << 32))
    command = [sys.executable, "-W", "error", "-m", "tests.faults.work.interrupted", how, str(signals), seed]
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
    kept = {str(pk) for pk in world.rows(Job).values_list("pk", flat=True)}
    world.enqueued += [*said["handler"], *said["program"], *kept.intersection(said["unsure"])]
    assert kept == set(world.enqueued)
    return said


def finish(world):
    """Every job that was stored runs once."""
    world.start()
    world.finish()
    assert world.ledger.count("started") == len(world.enqueued)


def test_a_handler_that_starts_a_thread_enqueues_whatever_it_interrupts(world, chance):
    """Neither its jobs nor those of the program are lost."""
    said = run_interrupted(world, chance, "thread", 60)
    assert len(said["handler"]) == 60
    assert not said["refused"]
    finish(world)


def test_a_handler_that_interrupts_a_program_at_rest_enqueues_itself(world, chance):
    """It has the connection for itself."""
    said = run_interrupted(world, chance, "rest", 60)
    assert len(said["handler"]) == 60
    finish(world)


def test_a_handler_that_enqueues_itself_is_refused_or_harms_nobody(world, chance):
    """It waits for nobody, its jobs are stored, and the program's blocks are all or nothing."""
    said = run_interrupted(world, chance, "direct", 400)
    assert said["refused"]
    assert said["handler"]
    assert len(said["handler"]) + len(said["unsure"]) + len(said["refused"]) == 400
    assert all("interrupts a statement" in reason for reason in said["refused"])
    finish(world)
