"""Other sessions stand in the way: deadlocks, locked rows."""

import time

import pytest

from tests.faults.harness.waiting import until
from tests.faults.work.jobs import hold, hold_again, write, write_once

pytestmark = pytest.mark.faults

BLOCKED = (
    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'soniq' AND application_name <> 'test'"
    " AND wait_event_type = 'Lock'"
)
LOCK = "SELECT 1 FROM soniq_jobs WHERE id = ANY(%s) FOR UPDATE"


@pytest.mark.parametrize("options", [{"deadlock_timeout": "2s"}])
def test_a_deadlock_costs_the_worker_a_second_try_and_no_job(postgres):
    """Its transaction of outcomes is the victim; the outcomes are recorded all the same, once."""
    worker = postgres.start("--concurrency", "8")
    first_go, go = postgres.path(), postgres.path()
    first = postgres.enqueue(hold, until=str(first_go))
    batch = postgres.enqueue_many(hold, [{"until": str(go)}] * 5)
    for job in [first, *batch]:
        postgres.wait_started(job)
    with postgres.cluster.session() as gate, postgres.cluster.session() as other:
        gate.execute("BEGIN")
        gate.execute(LOCK, [[first]])
        other.execute("SET deadlock_timeout = '60s'")  # so that the worker finds the cycle
        other.execute("BEGIN")
        other.execute(LOCK, [[batch[2]]])
        # While this outcome waits for the gate, those of the batch pile up to be written in one statement.
        first_go.touch()
        until(lambda: postgres.cluster.value(BLOCKED) == 1, "the first outcome being blocked")
        go.touch()
        postgres.wait_progress(6)
        gate.execute("COMMIT")
        until(lambda: postgres.job(first).status == "done", "the first outcome")
        until(lambda: postgres.cluster.value(BLOCKED) == 1, "the batch being blocked")
        other.execute(
            LOCK, [[job for job in batch if job != batch[2]]]
        )  # blocked, until the worker gives way
        worker.wait_for_log("deadlock detected")
        other.execute("COMMIT")
    postgres.finish()
    assert postgres.ledger.count("started") == 6


GIVE_UP = """
CREATE SEQUENCE given_up;
CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('given_up') % {every} = 0 THEN
        RAISE EXCEPTION 'given up for others' USING ERRCODE = '{state}';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER give_up BEFORE INSERT OR UPDATE OR DELETE ON soniq_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION give_up();
"""


@pytest.mark.parametrize("state", ["40001", "40P01"])
@pytest.mark.parametrize("job", [write, write_once], ids=["plain", "atomic"])
def test_what_the_database_gives_up_now_and_then_is_done_again(postgres, state, job):
    """Claims, outcomes and enqueues fail in the midst; no job is lost, and none but atomic ones run twice."""
    workers = postgres.start_many(2)
    with postgres.cluster.session() as session:
        session.execute(GIVE_UP.format(state=state, every=23))
    jobs = [postgres.enqueue_one(job, ms=number % 3) for number in range(300)]  # of a statement each
    postgres.wait_ended(60)
    assert any("others were in the way" in worker.log for worker in workers)
    with postgres.cluster.session() as session:
        session.execute("DROP TRIGGER give_up ON soniq_jobs")
    postgres.finish()
    assert sorted(postgres.written()) == sorted(jobs)
    assert set(postgres.written().values()) == {1}
    if not job.options.atomic:
        assert postgres.ledger.count("started") == len(jobs)


def test_locked_rows_hold_up_nobody_but_themselves(postgres):
    """A stranger's session holds the rows of some queued jobs: all others are run meanwhile."""
    jobs = postgres.enqueue_many(write, [{}] * 50)
    with postgres.cluster.session() as stranger:
        stranger.execute("BEGIN")
        stranger.execute(LOCK, [jobs[:10]])
        postgres.start()
        postgres.wait_progress(40)
        time.sleep(1)
        assert postgres.ledger.count("started") == 40
        stranger.execute("COMMIT")
    postgres.finish()
    assert postgres.ledger.count("started") == 50


def test_a_row_locked_while_its_job_runs_delays_its_outcome_only(postgres):
    """The heart beats on; nobody takes the job for lost."""
    postgres.start_many(2)
    go = postgres.path()
    held = postgres.enqueue(hold_again, until=str(go))
    postgres.wait_started(held)
    with postgres.cluster.session() as stranger:
        stranger.execute("BEGIN")
        stranger.execute(LOCK, [[held]])
        go.touch()
        until(lambda: postgres.cluster.value(BLOCKED) == 1, "the outcome being blocked")
        time.sleep(postgres.soniq["DEAD_AFTER"] + 1.5)
        stranger.execute("COMMIT")
    postgres.finish()
    assert len(postgres.ledger.events("started", held)) == 1
