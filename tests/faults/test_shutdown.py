"""Workers are told to stop: in time, out of time, twice, during an outage, at random moments."""

import signal
import time

import pytest

from tests.faults.harness.seeds import size
from tests.faults.harness.world import SONIQ
from tests.faults.work.jobs import ahold, hold, hold_again, leave_thread, quick, swallow, write

pytestmark = pytest.mark.faults

GRACE = SONIQ["SHUTDOWN_TIMEOUT"]
AT_THE_LATEST = (
    GRACE + 8
)  # what would keep a process keeps it for a minute; a busy machine needs a few seconds


def test_sigterm_finishes_short_jobs_and_leaves_nothing(world):
    """Everything that was started ends; what was not started waits for the next worker."""
    worker = world.start()
    jobs = world.enqueue_many(write, [{"ms": 20}] * 400)
    world.wait_progress(20)

    worker.stop()
    started, finished = world.ledger.count("started"), world.ledger.count("finished")
    assert started == finished < len(jobs)
    world.start()
    world.finish()

    assert world.ledger.count("started") == len(jobs)  # none was run twice
    world.check_rows()


@pytest.mark.parametrize("job", [ahold, hold], ids=["async", "sync"])
def test_a_job_longer_than_the_grace_is_given_back_unharmed(world, job):
    """Its attempt is not used: with max_retries=0 it still runs next time. The process is gone by then."""
    worker = world.start()
    go = world.path()
    held = world.enqueue(job, until=str(go))
    world.wait_started(held)

    assert GRACE * 0.9 < worker.stop() < AT_THE_LATEST
    row = world.job(held)
    assert (row.status, row.attempts, row.crashes) == ("queued", 0, 0)

    go.touch()
    world.start()
    world.finish()
    assert [event.attempt for event in world.ledger.events("finished", held)] == [1]


def test_a_job_that_swallows_its_cancellation_does_not_keep_the_process(postgres):
    """The end is bounded all the same, and the job is given back."""
    worker = postgres.start()
    held = postgres.enqueue(swallow)
    postgres.wait_started(held)

    assert worker.stop() < AT_THE_LATEST
    row = postgres.job(held)
    assert (row.status, row.attempts) == ("queued", 0)

    postgres.app.cancel_now([held])
    postgres.finish()


def test_a_thread_that_a_job_has_left_does_not_keep_the_process(postgres):
    """Python would wait for it at its end; it gets the time that jobs get."""
    worker = postgres.start()
    postgres.enqueue(leave_thread)
    postgres.wait_ended()

    assert worker.stop() < AT_THE_LATEST
    postgres.finish()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_gives_back_at_once(postgres, second):
    """Without waiting for the grace."""
    worker = postgres.start(SHUTDOWN_TIMEOUT=60)
    go = postgres.path()
    held = [postgres.enqueue(job, until=str(go)) for job in (hold, ahold)]
    for job in held:
        postgres.wait_started(job)
    worker.signal(signal.SIGTERM)
    worker.wait_for_log("stopping; running jobs have 60 s")

    begun = time.monotonic()
    worker.signal(second)
    assert worker.wait() == 0
    assert time.monotonic() - begun < 5
    assert [postgres.job(job).attempts for job in held] == [0, 0]

    go.touch()
    postgres.start()
    postgres.finish()


def test_sigterm_during_an_outage_ends_within_the_grace(postgres):
    """What cannot be recorded is rescued later."""
    worker = postgres.start()
    go = postgres.path()
    held = postgres.enqueue(hold_again, until=str(go))
    postgres.wait_started(held)

    postgres.cluster.stop()
    worker.wait_for_log("is away, trying again|heartbeat of worker .* failed")
    go.touch()  # the job ends, and nobody can be told
    assert worker.stop() < AT_THE_LATEST
    worker.unable = True
    postgres.cluster.start()

    postgres.start()
    postgres.finish()
    assert [event.attempt for event in postgres.ledger.events("finished", held)] == [1, 2]


def interrupted_import(worker):
    """Whether Python itself lost the SIGINT: raised in a callback of its imports, and ignored."""
    return "Exception ignored" in worker.log and "KeyboardInterrupt" in worker.log


@pytest.mark.timeout(1800)
def test_signals_at_random_moments_leave_no_claim_without_an_owner(postgres, chance):
    """Start and stop at any moment of a worker's life: it never hangs, and nothing is lost."""
    starts = size("STARTS", small=16, full=200)
    jobs = postgres.enqueue_many(write, ({"ms": chance.choice([0, 1, 10])} for _ in range(20 * starts)))
    running = []
    for _ in range(starts):
        running.append(postgres.start(wait=False))
        time.sleep(chance.random() * 0.8)
        worker = running.pop(chance.randrange(len(running)))
        time.sleep(chance.random() * 0.3)
        number = chance.choice([signal.SIGTERM, signal.SIGINT])
        try:
            worker.signal(number)
            worker.wait_until(lambda w=worker: not w.alive or interrupted_import(w), GRACE + 30)
            if worker.alive:
                worker.signal(number)
        except ProcessLookupError:
            pass
        worker.wait(GRACE + 30)
        # Before it has handlers of its own, a signal ends it as it ends any program.
        assert worker.process.returncode in (0, -number, 1, 130), worker.log
        if "soniq worker" in worker.log:
            assert worker.process.returncode in (0, -number), worker.log
        if len(running) < 6 and chance.random() < 0.5:  # more would use up the server's connections
            running.append(postgres.start(wait=False))
    postgres.start()
    postgres.wait_ended(120)
    postgres.finish()
    assert len(jobs) == len(postgres.written())
    postgres.check_rows()


def test_a_worker_told_to_stop_before_it_reaches_the_database_leaves(postgres):
    """It has registered nowhere and owes nothing."""
    postgres.cluster.stop()
    worker = postgres.start(wait=False)
    worker.wait_for_log("is away, trying again")
    assert worker.stop() < AT_THE_LATEST
    postgres.cluster.start()
    postgres.enqueue(quick)
    postgres.start()
    postgres.finish()
