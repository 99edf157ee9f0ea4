"""What networks do: resets, partitions, latency, lost answers, an address that moves to another server."""

import time

import pytest

from tests.faults.harness.world import RESCUED
from tests.faults.work.jobs import carry, hold_again, quick, write, write_once

pytestmark = pytest.mark.faults


def test_resets_in_mid_drain_lose_nothing(postgres, chance):
    """Every connection is reset again and again, in the middle of whatever it was doing."""
    postgres.start_many(2, database=postgres.proxied)
    jobs = postgres.enqueue_many(write, [{"ms": 1}] * 1500)
    for number in range(10):
        postgres.wait_progress(int(len(jobs) * (number + chance.random()) / 11), timeout=60)
        postgres.away(postgres.proxy.cut)
    postgres.finish()
    postgres.check_rows()


# What a worker sends last when it claims, and when it records an outcome.
CLAIM = {"postgres": [b"SET status = 'processing'"], "mysql": [b"SET `status` = 'processing'", b"COMMIT"]}
OUTCOME = {"postgres": [b"finished_at ="], "mysql": [b"SET `status` = 'done'", b"COMMIT"]}


@pytest.mark.parametrize("vendor", ["postgres", "mysql"])
def test_a_claim_whose_answer_is_lost_is_still_run_by_its_owner(request, vendor):
    """The database gave the jobs to the worker, which never heard of it. It asks, and runs them once."""
    world = request.getfixturevalue(vendor)
    worker = world.start(database=world.proxied)
    world.proxy.lose_answer_to(*CLAIM[vendor])
    jobs = world.enqueue_many(quick, [{}] * 3)
    worker.wait_for_log("is away, trying again")
    assert world.proxy.answers_lost == 1
    world.finish()
    assert sorted(event.job for event in world.ledger.events("started")) == sorted(jobs)
    assert {event.attempt for event in world.ledger.events("started")} == {1}


@pytest.mark.parametrize("vendor", ["postgres", "mysql"])
def test_an_outcome_whose_answer_is_lost_is_recorded_once(request, vendor):
    """The database has it, and the worker cannot know; writing it again changes nothing."""
    world = request.getfixturevalue(vendor)
    worker = world.start(database=world.proxied)
    go = world.path()
    held = world.enqueue(hold_again, until=str(go))
    world.wait_started(held)
    world.proxy.lose_answer_to(*OUTCOME[vendor])
    go.touch()
    worker.wait_for_log("is away, trying again")
    assert world.proxy.answers_lost == 1
    world.finish()
    assert len(world.ledger.events("started", held)) == 1


def test_a_worker_cut_off_loses_its_job_and_drops_its_late_result(postgres):
    """Packets vanish and nobody is told. Others take over; when the network heals, it goes on."""
    go = postgres.path()
    lonely = postgres.start("--concurrency", "1", database=postgres.proxied)
    held = postgres.enqueue(hold_again, until=str(go))
    postgres.wait_started(held)
    postgres.proxy.blackhole()
    lonely.unable = True
    other = postgres.start("--concurrency", "1")
    postgres.wait_started(held, times=2, timeout=RESCUED + 10)
    go.touch()
    postgres.wait_ended()
    assert str(postgres.job(held).worker_id) == other.id

    postgres.proxy.heal()
    lonely.wait_for_log(f"dropped   faults.hold_again {held}")
    other.stop()
    postgres.enqueue(write)
    postgres.finish()


def test_a_slow_network_is_no_reason_for_a_rescue(postgres):
    """200 ms per round trip: beats arrive in time, and jobs are done once."""
    postgres.proxy.delay = 0.1
    postgres.start_many(2, database=postgres.proxied, SWEEP_INTERVAL=2.0)
    jobs = postgres.enqueue_many(write, [{"ms": 10}] * 40)
    postgres.wait_ended(60)
    time.sleep(postgres.soniq["DEAD_AFTER"] + 1)
    postgres.proxy.delay = 0.0
    postgres.finish()
    assert postgres.ledger.count("started") == len(jobs)


def test_a_line_of_a_few_kilobytes_a_second_is_no_reason_for_a_rescue(postgres):
    """A claim takes longer than a worker may be silent; the heart is heard in time, each job runs once."""
    dead_after = postgres.soniq["DEAD_AFTER"]
    worker = postgres.start("--concurrency", "2", database=postgres.proxied, SWEEP_INTERVAL=60.0)
    go = postgres.path()
    held = postgres.enqueue(hold_again, until=str(go))
    postgres.wait_started(held)
    postgres.start("--concurrency", "1", "--queues", "others")  # it sweeps, and can take nothing
    postgres.proxy.rate = 8_000.0  # bytes per second
    luggage = "x" * int(2 * dead_after * postgres.proxy.rate)
    begun = time.monotonic()
    carried = postgres.enqueue(carry, luggage=luggage)
    postgres.wait_started(carried, timeout=60)
    assert time.monotonic() - begun > dead_after + postgres.soniq["SWEEP_INTERVAL"]
    go.touch()
    postgres.wait_ended(60)
    postgres.proxy.heal()
    postgres.finish()
    assert postgres.ledger.count("started") == 2
    assert {event.worker for event in postgres.ledger.events("started")} == {worker.id}


@pytest.mark.parametrize("zero_loss", [True, False], ids=["synchronous", "asynchronous"])
def test_failover_to_a_promoted_standby(postgres, directory, zero_loss):
    """The primary is killed, its replica promoted, and the address moved.

    With synchronous replication nothing is lost. Without, outcomes that were not replicated are run again,
    and only those. A job whose row was committed before the replica fell behind, and its outcome to the new
    primary, is done without its row, unless the two were one transaction.
    """
    primary = postgres.cluster
    standby = primary.standby(directory / "standby")
    try:
        if zero_loss:
            primary.set(synchronous_commit="remote_apply", synchronous_standby_names="*")
        workers = postgres.start_many(2, database=postgres.proxied)
        postgres.use(postgres.proxied)
        atomic: set[str] = set()
        for _ in range(12):
            postgres.enqueue_many(write, [{"ms": 2}] * 50)
            atomic.update(postgres.enqueue_many(write_once, [{"ms": 2}] * 50))
        postgres.wait_progress(400, timeout=60)
        finished = postgres.ledger.count("finished")
        outage = time.time()

        def fail_over():
            primary.stop("immediate")
            standby.set_next(synchronous_standby_names="")
            standby.promote()
            postgres.proxy.retarget(standby.directory)

        postgres.away(fail_over)
        postgres.move_to(standby)
        postgres.wait_progress(finished + 1, timeout=20)
        postgres.wait_ended(60)
        assert all(worker.alive for worker in workers)
        runs = [event.job for event in postgres.ledger.events("started")]
        again = len(runs) - len(set(runs))
        print(f"{again} runs again, of jobs whose outcome was not recorded or not replicated")
        if zero_loss:
            postgres.finish()
            postgres.check_rows()
        else:
            # What the old primary acknowledged and did not replicate never happened for the new one.
            written = postgres.written()
            assert {job: written.get(job) for job in atomic} == dict.fromkeys(atomic, 1)
            without = set(postgres.enqueued) - set(written)
            print(f"{len(without)} rows that were not replicated, of jobs whose outcome came later")
            ran_since = {event.job for event in postgres.ledger.events("finished") if event.at > outage + 1}
            assert not without & ran_since
            for worker in workers:
                worker.stop()
    finally:
        standby.remove()
