"""Jobs that take all the memory there is: one dies of it, one is told that there is no more."""

import time

import pytest

from soniq_django.models import DeadLetterJob, Worker
from tests.faults.harness.limited import limited, missing_reason
from tests.faults.harness.waiting import until
from tests.faults.work.jobs import fill, hog, quick, write

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(bool(missing_reason()), reason=missing_reason()),
]

MEGABYTES = 4096  # of address space, of which a worker takes a good part for its threads' stacks


def test_a_memory_hog_is_buried_others_flow_and_its_workers_come_back(world):
    """Each worker that it runs in dies of it; after MAX_CRASHES it runs no more, and nobody is missing."""
    supervisor = world.start(
        "--processes", "2", "--concurrency", "2", wait=False, within=limited(MEGABYTES), supervisor=True,
        MAX_CRASHES=3,
    )  # fmt: skip
    others = world.enqueue_many(write, [{"ms": 20}] * 50)
    killer = world.enqueue(hog)
    others += world.enqueue_many(write, [{"ms": 1}] * 100)
    until(lambda: world.rows(DeadLetterJob).filter(pk=killer).exists(), world.describe, timeout=60)
    until(lambda: set(others) == set(world.written()), world.describe)

    starts = world.ledger.events("started", killer)
    world.lost = {event.worker for event in starts}
    until(lambda: world.rows(Worker).exclude(pk__in=world.lost).count() == 2, world.describe)
    supervisor.wait_for_log(r"ended with signal \d+; starting it anew", times=3)
    world.finish(dead={killer})

    letter = world.rows(DeadLetterJob).get(pk=killer)
    assert letter.dead_letter_reason == "worker_lost"
    assert letter.attempts == len(starts) == len(world.lost) == 3
    assert world.lost < supervisor.ids


def test_a_job_for_which_there_is_no_memory_fails_and_its_worker_goes_on(postgres):
    """While it holds all there is, the heart beats on; its error is recorded, and the next jobs run."""
    worker = postgres.start("--concurrency", "2", within=limited(MEGABYTES))
    go = postgres.path()
    greedy = postgres.enqueue(fill, go=str(go))
    postgres.wait_started(greedy)
    time.sleep(postgres.soniq["DEAD_AFTER"] + 1)
    go.touch()
    until(lambda: postgres.rows(DeadLetterJob).filter(pk=greedy).exists(), postgres.describe)
    postgres.enqueue_many(quick, [{}] * 20)
    postgres.finish(dead={greedy})
    assert "MemoryError" in postgres.rows(DeadLetterJob).get(pk=greedy).last_error
    assert worker.process.returncode == 0
