"""Workers die: by SIGKILL, by their own job, all at once, between the claim and the job."""

from collections import Counter

import pytest

from soniq_django.models import DeadLetterJob, Job
from tests.faults.harness.seeds import size
from tests.faults.harness.waiting import until
from tests.faults.harness.world import RESCUED
from tests.faults.work.jobs import awrite_once, hold_again, poison, quick, write, write_once
from tests.faults.work.models import Row

pytestmark = pytest.mark.faults


def test_a_job_whose_worker_is_killed_is_run_by_another(world):
    """Within dead_after and a sweep, as attempt 2; nothing else is lost."""
    go = world.path()
    world.start_many(2, "--concurrency", "2")
    held = world.enqueue(hold_again, until=str(go))
    others = world.enqueue_many(write, [{}] * 20)
    world.wait_started(held)

    world.owner(held).kill()
    world.wait_started(held, times=2, timeout=RESCUED + 5)
    go.touch()
    world.finish()

    row = world.job(held)
    assert (row.attempts, row.crashes) == (2, 1)
    assert row.result == f"by {row.worker_id}"
    assert set(world.written()) == set(others)


def drain_under_kills(world, chance, *kinds):
    """SIGKILL over four workers, spread over the drain of many jobs of these kinds."""
    rounds = size("ROUNDS", small=5, full=20)
    jobs = size("JOBS", small=600, full=20_000)
    world.soniq["MAX_CRASHES"] = rounds + 1  # chance may hit one job in every round
    workers = world.start_many(4)
    for kind in kinds:
        some = range(jobs // len(kinds))
        world.enqueue_many(kind, ({"ms": chance.choice([0, 0, 1, 5, 20])} for _ in some))
    for number in range(rounds):
        portion = (number + chance.random()) / (rounds + 1)
        world.wait_progress(int(jobs * portion), timeout=120)
        victim = workers.pop(chance.randrange(len(workers)))
        victim.kill()
        workers.append(world.start(wait=False))
    world.wait_ended(timeout=600)
    world.finish()
    runs = Counter(event.job for event in world.ledger.events("started"))
    again = sum(count - 1 for count in runs.values())
    print(f"{rounds} kills, {len(runs)} jobs, {again} runs again")
    assert again  # else no kill hit a job, and this showed nothing


@pytest.mark.timeout(1800)
def test_random_kills_lose_nothing(served, chance):
    """Every job has its row; duplicates only where the owner was killed."""
    drain_under_kills(served, chance, write)

    served.check_rows()
    killed = set().union(*(worker.ids for worker in served.workers if worker.unable))
    owners: dict[str, list[str]] = {}
    for event in served.ledger.events("started"):
        owners.setdefault(event.job, []).append(event.worker)
    assert all(owner in killed for runs in owners.values() for owner in runs[:-1])


@pytest.mark.timeout(1800)
def test_random_kills_double_no_effect_of_atomic_jobs(served, chance):
    """Each job leaves exactly one row, of the attempt that is recorded, however often its workers die."""
    drain_under_kills(served, chance, write_once, awrite_once)

    left = sorted((str(row.job), row.attempt) for row in served.rows(Row))
    assert left == sorted((str(job.pk), job.attempts) for job in served.rows(Job))


def test_a_job_claimed_but_not_started_is_run_once(world):
    """The worker dies between the claim and the job's own code."""
    pause = world.path()
    victim = world.start(environment={"FAULTS_PAUSE_BEFORE_JOBS": str(pause)})
    job = world.enqueue(quick)
    until(pause.exists, "the claim")
    assert world.job(job).status == "processing"

    victim.kill()
    world.start()
    world.finish()

    assert [event.attempt for event in world.ledger.events("started", job)] == [2]


def test_the_first_worker_after_all_died_rescues_by_itself(world):
    """Nobody has to tell it, and what waited runs as well."""
    go = world.path()
    workers = world.start_many(2)
    held = [world.enqueue(hold_again, until=str(go)) for _ in range(3)]
    for job in held:
        world.wait_started(job)
    for worker in workers:
        worker.kill()
    world.enqueue_many(write, [{}] * 10)
    go.touch()

    world.start()
    world.finish()

    assert [world.job(job).attempts for job in held] == [2, 2, 2]


def test_a_job_that_kills_its_workers_is_buried_and_others_flow(world):
    """It ends as worker_lost after MAX_CRASHES starts. What was lost with it once is run, and ends well."""
    workers = world.start_many(2, "--concurrency", "4", MAX_CRASHES=3)
    others = world.enqueue_many(write, [{"ms": 20}] * 100)
    killer = world.enqueue(poison)
    others += world.enqueue_many(write, [{"ms": 1}] * 200)

    def buried():
        for worker in [worker for worker in workers if not worker.alive]:
            worker.unable = True
            workers.remove(worker)
            workers.append(world.start("--concurrency", "4", wait=False, MAX_CRASHES=3))
        return world.rows(DeadLetterJob).filter(pk=killer).exists()

    until(buried, world.describe, timeout=60)
    world.finish(dead={killer})

    letter = world.rows(DeadLetterJob).get(pk=killer)
    assert letter.dead_letter_reason == "worker_lost"
    assert letter.attempts == len(world.ledger.events("started", killer)) == 3
    assert set(others) == set(world.written())
    assert sum(worker.process.returncode == 137 for worker in world.workers) == 3
