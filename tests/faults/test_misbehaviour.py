"""Jobs do what they should not. Each has its outcome recorded, and the next one finds everything clean."""

from uuid import UUID

import pytest

from soniq_django.models import DeadLetterJob, Job
from tests.faults.harness.waiting import until
from tests.faults.work import jobs
from tests.faults.work.jobs import EXITS, quick, write
from tests.faults.work.models import Row

pytestmark = pytest.mark.faults

HARMLESS = [
    jobs.leave_transaction_open,
    jobs.leave_transaction_aborted,
    jobs.enter_atomic,
    jobs.begin_in_sql,
    jobs.close_connection,
    jobs.large_result,
    jobs.start_thread,
    jobs.fork,
    jobs.run_program,
]


def test_each_misbehaviour_is_recorded_and_the_next_job_is_unharmed(world):
    """On one slot, one after the other: a bad job, then one that writes a row. The worker stays the same."""
    world.start("--concurrency", "1")
    bad, good = [], []
    for job in HARMLESS:
        bad.append(world.enqueue(job))
        good.append(world.enqueue(write))
    world.wait_ended()
    ended = {row.pk: row for row in world.rows(Job).all()}
    troubled = [
        job.name
        for job, after in zip(HARMLESS, good, strict=True)
        if UUID(after) not in ended or ended[UUID(after)].attempts > 1
    ]
    assert not troubled, "these harmed the next job"
    assert {str(pk) for pk, row in ended.items() if row.status == "done"} == {*bad, *good}
    assert set(good) == set(world.written()) - set(bad)
    assert not world.rows(Row).filter(attempt=-1).exists()  # what was left open was not committed
    assert "the result was not stored" in (world.job(bad[HARMLESS.index(jobs.large_result)]).last_error or "")
    world.finish()


def test_callbacks_that_fail_at_the_commit_fail_their_job_only(world):
    """The error is the job's, and is told."""
    world.start("--concurrency", "1")
    bad = world.enqueue(jobs.broken_on_commit)
    world.enqueue(write)
    world.finish(dead={bad})
    assert "ZeroDivisionError" in world.rows(DeadLetterJob).get(pk=bad).last_error


def test_a_job_that_deletes_its_own_row_harms_nobody(world):
    """Its outcome has nowhere to go, and is dropped."""
    worker = world.start("--concurrency", "1")
    gone = world.enqueue(jobs.delete_itself)
    world.gone.add(gone)
    world.enqueue(write)
    worker.wait_for_log(f"dropped   faults.delete_itself {gone}")
    world.finish()
    assert not world.rows(Job).filter(pk=gone).exists()


@pytest.mark.parametrize("job", [jobs.leave, jobs.aleave], ids=["sync", "async"])
def test_whatever_a_job_raises_is_a_failure_and_the_worker_lives(postgres, job):
    """Exits, interrupts and cancellations of its own making included."""
    worker = postgres.start("--concurrency", "1")
    bad = {how: postgres.enqueue(job, how=how) for how in EXITS}
    postgres.enqueue(write)
    postgres.wait_ended()
    assert worker.alive
    for how, job_id in bad.items():
        assert how in postgres.rows(DeadLetterJob).get(pk=job_id).last_error
    postgres.finish(dead=bad.values())


def test_a_blocked_event_loop_does_not_stop_the_heart(world):
    """For longer than a silent worker would be given: nobody rescues its jobs."""
    blocked = world.start("--concurrency", "2")
    job = world.enqueue(jobs.block_loop, seconds=world.soniq["DEAD_AFTER"] + 2)
    world.wait_started(job)
    world.start("--concurrency", "1")
    world.enqueue_many(quick, [{}] * 20)
    world.finish()
    assert str(world.job(job).worker_id) == blocked.id
    assert len(world.ledger.events("started", job)) == 1


def test_rows_edited_to_garbage_end_no_worker(postgres):
    """Arguments that are no object, negative attempts, a status that does not exist, a row that is gone."""
    edits = [
        "args = '[1, 2]'",
        "args = '\"text\"'",
        "args = 'null'",
        'args = \'{"no": "such parameter"}\'',
        "attempts = -5",
        "max_attempts = 0",
        "priority = -1",
    ]
    edited = postgres.enqueue_many(write, [{}] * len(edits))
    nonsense = postgres.enqueue(write)
    with postgres.cluster.session() as session:
        for job, edit in zip(edited, edits, strict=True):
            session.execute(f"UPDATE soniq_jobs SET {edit} WHERE id = %s", [job])
        session.execute("UPDATE soniq_jobs SET status = 'nonsense' WHERE id = %s", [nonsense])
    worker = postgres.start("--concurrency", "1")
    fine = postgres.enqueue_many(write, [{}] * 10)
    postgres.wait_ended()
    assert worker.alive
    reasons = dict(postgres.rows(DeadLetterJob).values_list("pk", "dead_letter_reason"))
    assert {reasons[pk] for pk in reasons if str(pk) in edited[:4]} == {"invalid_arguments"}
    assert set(fine) <= set(postgres.written())
    assert postgres.job(nonsense).status == "nonsense"
    postgres.gone.update([nonsense, *edited])
    until(lambda: not postgres.held_by(worker), "no claims")
    postgres.finish(dead=None)
