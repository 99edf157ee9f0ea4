"""Workers that live and cannot say so: stopped, cut off from the database, or not allowed to beat."""

import pytest

from tests.faults.harness.waiting import until
from tests.faults.harness.world import RESCUED
from tests.faults.work.jobs import hold_again, hold_once, quick, spin, write
from tests.faults.work.models import Row

pytestmark = pytest.mark.faults


def test_a_frozen_worker_loses_its_job_and_drops_its_late_result(world):
    """It wakes, notices, drops what it comes to, and goes on to run other jobs."""
    go = world.path()
    frozen = world.start("--concurrency", "1")
    held = world.enqueue(hold_again, until=str(go))
    world.wait_started(held)
    frozen.freeze()
    other = world.start("--concurrency", "1")
    world.wait_started(held, times=2, timeout=RESCUED + 10)
    until(lambda: not world.known(frozen), "the frozen worker being forgotten")

    frozen.thaw()  # and its run of the job ends first
    go.touch()
    frozen.wait_for_log(f"dropped   faults.hold_again {held}")
    world.wait_ended()
    assert str(world.job(held).worker_id) == other.id
    assert world.job(held).result == f"by {other.id}"

    frozen.wait_for_log(f"worker {frozen.id} was taken for dead.* goes on as")
    other.stop()
    last = world.enqueue(quick)
    world.finish()
    assert str(world.job(last).worker_id) not in (frozen.id, other.id)


def test_a_frozen_atomic_job_leaves_nothing_when_it_wakes(postgres):
    """Others have run it meanwhile: its own row is rolled back with its outcome, theirs is there once."""
    go = postgres.path()
    frozen = postgres.start("--concurrency", "1")
    held = postgres.enqueue(hold_once, until=str(go))
    postgres.wait_started(held)
    frozen.freeze()
    postgres.start("--concurrency", "1")
    postgres.wait_started(held, times=2, timeout=RESCUED + 10)
    assert postgres.written() == {}

    frozen.thaw()
    go.touch()
    frozen.wait_for_log(f"dropped   faults.hold_once {held}")
    postgres.finish()

    assert [row.attempt for row in postgres.rows(Row)] == [2]


def test_a_worker_that_freezes_in_mid_drain_holds_up_nobody(postgres, chance):
    """Whatever it was doing, in a transaction or not. What it claims once awake, nobody takes from it."""
    workers = postgres.start_many(2)
    for frozen in workers:
        so_far = postgres.ledger.count("finished")
        postgres.enqueue_many(write, [{"ms": 5}] * 1000)
        postgres.wait_progress(so_far + 50 + chance.randrange(300))
        frozen.freeze()
        until(
            lambda worker=frozen: not postgres.held_by(worker),
            lambda: f"its jobs being rescued; {postgres.sessions()}; {postgres.describe()}",
            timeout=RESCUED + 25,
        )
        frozen.thaw()
        postgres.wait_ended(60)
    postgres.finish()
    postgres.check_rows()


def test_locks_of_a_frozen_worker_do_not_stop_the_rescue(postgres):
    """Others rescue what they can reach; the server ends the frozen transaction, and then the rest."""
    go = postgres.path()
    frozen = postgres.start("--concurrency", "2")
    locked, free = postgres.enqueue_many(hold_again, [{"until": str(go)}] * 2)
    for job in (locked, free):
        postgres.wait_started(job)
    frozen.freeze()
    with postgres.cluster.session() as session:  # stands in for the frozen worker's transaction
        session.execute("BEGIN")
        session.execute("SELECT 1 FROM soniq_jobs WHERE id = %s FOR UPDATE", [locked])
        postgres.start("--concurrency", "2")
        postgres.wait_started(free, times=2, timeout=RESCUED + 5)
        other = postgres.enqueue(quick)
        until(lambda: postgres.ledger.events("finished", other), postgres.describe)
        session.execute("COMMIT")
    go.touch()  # of jobs with a crash behind them, one runs at a time
    postgres.wait_started(locked, times=2, timeout=RESCUED + 5)
    frozen.thaw()
    postgres.finish()


def test_a_worker_that_cannot_beat_gives_up_its_claims(postgres):
    """Its heartbeats are refused while its claims would work: no job may be run by two at once."""
    go = postgres.path()
    mute = postgres.start("--concurrency", "2")
    held = postgres.enqueue(hold_again, until=str(go))
    postgres.wait_started(held)
    other = postgres.start("--concurrency", "2", database=postgres.cluster.database(USER="postgres"))
    with postgres.cluster.session() as session:
        session.execute("REVOKE UPDATE ON soniq_workers FROM soniq")
    mute.wait_for_log("heartbeat of worker .* failed")
    postgres.wait_started(held, times=2, timeout=RESCUED + 10)
    mute.unable = True

    before = len(postgres.ledger.events("started"))
    jobs = postgres.enqueue_many(write, [{"ms": 5}] * 100)
    until(lambda: postgres.ledger.count("finished") >= 100, postgres.describe)
    # It must have stopped to claim: what it took, others would take from it.
    started = postgres.ledger.events("started")[before:]
    assert {event.worker for event in started} == {other.id}
    assert {event.job for event in started} == set(jobs)

    with postgres.cluster.session() as session:
        session.execute("GRANT UPDATE ON soniq_workers TO soniq")
    go.touch()
    postgres.wait_ended()
    assert len(postgres.ledger.events("started", held)) == 2
    # It recovers by itself.
    other.stop()
    postgres.enqueue(write)
    postgres.finish()


def test_a_job_that_holds_the_interpreter_changes_nothing_but_time(postgres):
    """Its worker may be taken for dead meanwhile; the job has one outcome all the same."""
    worker = postgres.start("--concurrency", "2")
    postgres.start("--concurrency", "2")
    jobs = postgres.enqueue_many(spin, [{"seconds": 1.5}] * 2) + postgres.enqueue_many(write, [{}] * 50)
    postgres.wait_ended(120)
    for each in postgres.workers:
        each.unable = True  # it could not beat
    postgres.finish()
    assert worker.process.returncode == 0
    assert all(postgres.job(job).status == "done" for job in jobs)
