"""The database goes away, comes back, refuses, or is not there to begin with. No worker ever exits for it."""

import re
import socket
import time
import urllib.request
from contextlib import ExitStack
from functools import partial

import psycopg
import pytest

from soniq import BackendUnavailable
from soniq_django.models import Job
from tests.faults.harness.seeds import size
from tests.faults.harness.waiting import until
from tests.faults.harness.workers import probe_is_content
from tests.faults.work.jobs import awrite_once, hold, quick, write, write_once

pytestmark = pytest.mark.faults

BACK_WITHIN = 20.0  # seconds from a database that answers to a worker that works


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("mode", "job"),
    [("fast", write), ("immediate", write), ("immediate", write_once), ("immediate", awrite_once)],
    ids=["fast", "immediate", "immediate-atomic", "immediate-async-atomic"],
)
def test_a_drain_survives_restarts_and_terminated_sessions(postgres, chance, mode, job):
    """Nothing is lost, no worker exits, and work goes on within seconds; `immediate` is a crash.

    Sessions end in the middle of commits, too: what an atomic job wrote is there once all the same.
    """
    jobs = size("JOBS", small=800, full=20_000)
    restarts = size("RESTARTS", small=2, full=5)
    terminated = size("TERMINATED", small=10, full=50)
    if mode == "immediate":
        postgres.cluster.set(fsync="on", full_page_writes="on")
    workers = postgres.start_many(4)
    postgres.enqueue_many(job, ({"ms": chance.choice([0, 1, 5, 20])} for _ in range(jobs)))

    def restart():
        done = postgres.ledger.count("finished")
        postgres.away(lambda: postgres.cluster.restart(mode))
        postgres.wait_progress(min(done + 1, jobs), timeout=BACK_WITHIN)

    def terminate():
        postgres.away(lambda: postgres.cluster.value(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'soniq' AND application_name <> 'test' ORDER BY md5(pid::text || %s) LIMIT 1",
            str(chance.random()),
        ))  # fmt: skip

    faults = [restart] * restarts + [terminate] * terminated
    chance.shuffle(faults)
    for number, fault in enumerate(faults):
        postgres.wait_progress(int(jobs * (number + chance.random()) / (len(faults) + 1)), timeout=120)
        fault()
    postgres.wait_ended(600)
    assert all(worker.alive for worker in workers)
    postgres.finish()
    postgres.check_rows()
    if job.options.atomic:
        assert set(postgres.written().values()) == {1}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("job", [write, write_once, awrite_once], ids=["plain", "atomic", "async-atomic"])
def test_a_drain_survives_killed_sessions(mysql, chance, job):
    """MariaDB's sessions are killed, one by one and all at once; nothing is lost, and no worker exits."""
    jobs = size("JOBS", small=600, full=20_000)
    kills = size("TERMINATED", small=10, full=50)
    workers = mysql.start_many(2)
    mysql.enqueue_many(job, ({"ms": chance.choice([0, 1, 5, 20])} for _ in range(jobs)))
    for number in range(kills):
        mysql.wait_progress(int(jobs * (number + chance.random()) / (kills + 1)), timeout=120)
        mysql.away(
            mysql.shared.kill_sessions if number % 5 == 4 else partial(mysql.shared.kill_session, chance)
        )
    mysql.wait_ended(600)
    assert all(worker.alive for worker in workers)
    mysql.finish()
    mysql.check_rows()
    if job.options.atomic:
        assert set(mysql.written().values()) == {1}


def test_a_worker_starts_before_its_database(postgres):
    """It waits, says so once per back-off step, and then works."""
    postgres.cluster.stop()
    worker = postgres.start(wait=False)
    worker.wait_for_log("is away, trying again", times=2)
    time.sleep(1)
    assert 2 <= len(re.findall("is away, trying again", worker.log)) <= 4
    postgres.cluster.start()
    postgres.enqueue(write)
    postgres.wait_progress(1, timeout=BACK_WITHIN)
    postgres.finish()


def test_a_terminated_listener_listens_again(postgres):
    """And then wakes its worker at once, long before the next poll would. A metric counts it."""
    port = free_port()
    worker = postgres.start(POLL_INTERVAL=60, METRICS="prometheus", METRICS_PORT=port)
    listeners = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'soniq listener'"
    until(lambda: postgres.cluster.value(listeners) == 1, "the listener")
    time.sleep(2)  # until its first probe has arrived it hears nothing that it could lose; nothing shows when
    assert postgres.cluster.terminate("application_name = 'soniq listener'") >= 1  # it may probe just now
    worker.wait_for_log("listening again in at most")
    until(lambda: postgres.cluster.value(listeners) == 1, "the listener being back")
    assert 'soniq_listener_losses_total{reason="connection"} 1.0' in scraped(port)

    time.sleep(2)  # any poll of an unhealthy listener is over by now
    begun = time.monotonic()
    postgres.wait_started(postgres.enqueue(quick))
    assert time.monotonic() - begun < 2
    postgres.finish()


def free_port():
    """A port of this machine that nobody has at present."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def scraped(port):
    """What the worker answers there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def test_a_read_only_database_is_not_an_empty_queue(postgres):
    """As on a standby after a failover: the worker says so, backs off, and returns to work."""
    worker = postgres.start()
    jobs = postgres.enqueue_many(write, [{}] * 20)
    postgres.wait_ended()

    postgres.cluster.set(default_transaction_read_only="on")
    begun = time.time()
    with pytest.raises(BackendUnavailable, match="read-only"):
        postgres.enqueue(write)
    worker.wait_for_log("is away, trying again.*read-only", times=2)
    until(
        lambda: not probe_is_content(postgres.database, postgres.soniq),
        "the probe telling that nobody can work",
    )
    postgres.cluster.set(default_transaction_read_only="off")
    postgres.outages.append((begun, time.time() + 5))
    postgres.rows(Job).exists()

    more = postgres.enqueue_many(write, [{}] * 20)
    postgres.wait_progress(len(jobs + more), timeout=BACK_WITHIN)
    assert worker.alive
    assert probe_is_content(postgres.database, postgres.soniq)
    postgres.finish()
    postgres.check_rows()


@pytest.mark.parametrize("options", [{"max_connections": 14, "superuser_reserved_connections": 3}])
def test_exhausted_connections_refuse_enqueues_and_delay_work(postgres):
    """Enqueue raises BackendUnavailable; the worker backs off and recovers."""
    from django.db import connections

    worker = postgres.start("--concurrency", "2")
    connections["faults"].close()
    with ExitStack() as hog:
        begun = time.time()
        postgres.cluster.terminate("true")
        with pytest.raises(psycopg.OperationalError):
            while True:
                hog.enter_context(postgres.cluster.session("soniq"))
        until(
            lambda: not postgres.cluster.terminate("application_name <> 'test'") and hog_more(postgres, hog),
            "full",
        )
        until(lambda: refused(postgres) or hog_more(postgres, hog) is None, "an enqueue being refused")
        worker.wait_for_log("is away, trying again", times=2)
    postgres.outages.append((begun, time.time() + 5))
    jobs = postgres.enqueue_many(write, [{}] * 10)
    postgres.wait_progress(len(jobs), timeout=BACK_WITHIN)
    assert worker.alive
    postgres.finish()


def refused(world):
    """Whether an enqueue finds no connection; one that a worker gave up just now would do."""
    from django.db import connections

    try:
        world.enqueue(write)
    except BackendUnavailable as error:
        return "connection" in str(error)
    finally:
        connections["faults"].close()
    return False


def hog_more(world, hog):
    """Take what is left; True once nothing is."""
    try:
        hog.enter_context(world.cluster.session("soniq"))
    except psycopg.OperationalError:
        return True
    return False


@pytest.mark.parametrize("options", [{"default_transaction_isolation": "repeatable read"}])
def test_repeatable_read_by_default_loses_and_doubles_nothing(postgres):
    """A project may have it set; four workers contend for the same jobs."""
    workers = postgres.start_many(4)
    postgres.enqueue_many(write, [{}] * 1500)
    begun = time.monotonic()
    postgres.wait_ended(60)
    seconds = time.monotonic() - begun
    conflicts = sum(len(re.findall("is away, trying again", worker.log)) for worker in workers)
    print(f"{seconds:.1f} s, {conflicts} pauses")
    postgres.finish()
    postgres.check_rows()
    assert postgres.ledger.count("started") == 1500
    assert conflicts == 0, "contention turned into idling"


def test_a_right_that_is_taken_away_for_a_while_stops_no_worker(postgres):
    """Neither one that has nothing to do nor one with an outcome to record, which is not lost."""
    busy, idle = postgres.start_many(2, "--concurrency", "1")
    go = postgres.path()
    held = postgres.enqueue(hold, until=str(go))
    postgres.wait_started(held)
    with postgres.cluster.session() as session:
        session.execute(
            "ALTER TABLE soniq_jobs OWNER TO postgres; GRANT SELECT, INSERT ON soniq_jobs TO soniq"
        )
    go.touch()
    other = postgres.enqueue(quick)
    for worker in (busy, idle):
        worker.wait_for_log("trying again in .*permission denied")
    with postgres.cluster.session() as session:
        session.execute("GRANT ALL ON soniq_jobs TO soniq")
    postgres.wait_ended()
    assert busy.alive
    assert idle.alive
    assert postgres.job(held).status == postgres.job(other).status == "done"
    postgres.finish()
