"""Faults that need more than processes. Each says what it misses where it cannot run."""

import contextlib
import re
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from soniq import BackendUnavailable
from tests.faults.harness.namespace import namespace
from tests.faults.harness.pooler import PORT, missing_reason, pooler
from tests.faults.harness.waiting import until
from tests.faults.work.jobs import awrite, hold_again, quick, write

pytestmark = pytest.mark.system


def test_a_pooler_in_transaction_mode_changes_nothing_but_the_wake_ups(postgres, directory):
    """Claims, outcomes and heartbeats are right. The listener gives up with one warning, and polls do."""
    if reason := missing_reason():
        pytest.skip(reason)
    with pooler(directory / "pooler", postgres.cluster.directory) as socket:
        database = postgres.cluster.database(
            HOST=str(socket),
            PORT=str(PORT),
            DISABLE_SERVER_SIDE_CURSORS=True,
            OPTIONS={"prepare_threshold": None},
        )
        until((socket / f".s.PGSQL.{PORT}").exists, "the pooler")
        workers = postgres.start_many(2, database=database, POLL_INTERVAL=5.0)
        jobs = postgres.enqueue_many(write, [{"ms": 1}] * 400) + postgres.enqueue_many(
            awrite, [{"ms": 1}] * 100
        )
        postgres.wait_ended(60)
        for worker in workers:
            worker.wait_for_log("notifications do not arrive")
        time.sleep(8)
        assert [len(re.findall("notifications do not arrive", worker.log)) for worker in workers] == [1, 1]
        begun = time.monotonic()
        late = postgres.enqueue(write)
        postgres.wait_started(late)
        assert time.monotonic() - begun < 2.5  # a worker that nobody wakes polls every second
        postgres.wait_ended()
        for worker in workers:
            worker.stop()
    postgres.finish()
    assert postgres.ledger.count("started") == len(jobs) + 1


@contextlib.contextmanager
def small_disk(mount, size):
    """A file system of its own at a directory."""
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "soniq-faults", str(mount)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)


@pytest.fixture
def server_disk(directory):
    """Under the scenario's server."""
    with small_disk(directory / "pg", "160m") as mount:
        yield mount


@pytest.fixture
def sqlite_folder(directory):
    """Under the scenario's SQLite file."""
    with small_disk(directory / "disk", "8m") as mount:
        yield mount


def fill(ballast):
    """Leave no room beside it."""
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"\0" * (1 << 12))


def test_a_full_disk_under_sqlite_reaches_the_caller_and_stops_no_worker(sqlite, sqlite_folder):
    """Enqueue says what is wrong, the worker too, without spinning; with space again all proceeds."""
    # It cannot beat either, and is not to be taken for dead: its outcome is to arrive.
    worker = sqlite.start(DEAD_AFTER=60.0)
    go = sqlite.path()
    held = sqlite.enqueue(hold_again, until=str(go))
    sqlite.wait_started(held)
    ballast = sqlite_folder / "ballast"
    begun, lines = time.time(), len(worker.log.splitlines())
    # No room in the log either: what has been written there could be overwritten without any space.
    with closing(sqlite3.connect(sqlite.database["NAME"], timeout=10)) as other:
        until(
            lambda: other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0,
            "the log being emptied",
        )
    fill(ballast)
    with pytest.raises(BackendUnavailable, match="full"):
        while True:
            sqlite.enqueue_many(write, [{"ms": 0}] * 500)
    go.touch()
    worker.wait_for_log("is away, trying again.*full", times=3)
    time.sleep(3)
    assert worker.alive
    assert sqlite.job(held).status == "processing"  # its outcome has nowhere to go yet
    assert len(worker.log.splitlines()) - lines < 60

    ballast.unlink()
    sqlite.outages.append((begun, time.time() + sqlite.soniq["DEAD_AFTER"] + 2))
    sqlite.enqueue_many(write, [{}] * 20)
    sqlite.finish()
    assert worker.process.returncode == 0
    assert len(sqlite.ledger.events("started", held)) == 1


def test_a_full_disk_reaches_the_caller_and_stops_no_worker(server_disk, postgres):
    """Enqueue raises; the worker backs off. Once there is space again everything proceeds."""
    worker = postgres.start()
    first = postgres.enqueue_many(write, [{}] * 50)
    postgres.wait_ended()

    ballast = server_disk / "ballast"
    begun = time.time()
    fill(ballast)
    refused = 0
    with pytest.raises(BackendUnavailable):
        while True:
            postgres.enqueue_many(write, [{"ms": 0}] * 2000)
            refused += 1
            assert refused < 200, "the disk did not fill"
    ballast.unlink()
    until(lambda: postgres.cluster.running, "the server")
    if not answers(postgres.cluster):  # it may have ended for want of space for its log
        postgres.cluster.start()
    postgres.outages.append((begun, time.time() + 10))
    postgres.enqueue_many(write, [{}] * 50)
    postgres.wait_ended(120)
    assert worker.alive
    postgres.finish()
    assert len(first) == 50
    postgres.check_rows()


@pytest.fixture
def deafened(postgres):
    """A namespace for a worker, from which it reaches the server through the proxy."""
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(namespace())
        except OSError as error:
            pytest.skip(f"cannot make a network namespace: {error}")
        postgres.proxy_address = made.host
        yield made


def test_a_connection_that_falls_silent_is_given_up_within_ten_seconds(deafened, postgres):
    """No reset, no error: packets to the worker vanish. Listener and heart notice, and the worker returns."""
    worker = postgres.start(database=postgres.proxied, within=deafened.enter)
    postgres.enqueue(write)
    postgres.wait_ended()
    begun = time.monotonic()
    deafened.silence()
    worker.unable = True
    worker.wait_for_log("heartbeat of worker .* failed", timeout=15)
    worker.wait_for_log("listening again in", timeout=15)
    noticed = time.monotonic() - begun
    assert noticed < 12  # ten, and what logs take to be written and read on a busy machine

    deafened.heal()
    postgres.enqueue(write)
    postgres.wait_ended(40)
    postgres.finish()


FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
SKEW = 3600  # seconds


@pytest.mark.skipif(FAKETIME is None, reason="no libfaketime on this machine (apt install libfaketime)")
def test_a_wrong_clock_of_a_worker_changes_nothing(postgres):
    """One is an hour fast, one an hour slow: the database's clock says what is due, and who lives."""

    def start(skew):
        environment = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME": f"{skew:+d}s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        worker = postgres.start("--concurrency", "2", environment=environment)
        worker.unable = True  # what it writes into the ledger has its own time, and says nothing of claims
        return worker

    fast, slow = start(SKEW), start(-SKEW)
    go = postgres.path()
    held = [postgres.enqueue(hold_again, until=str(go)) for _ in range(2)]
    for job in held:
        postgres.wait_started(job)
    now = time.time()
    hour = {fast.id: now + SKEW, slow.id: now - SKEW}
    for event in postgres.ledger.events("started"):
        assert abs(event.at - hour[event.worker]) < 600, "the worker's clock is right"

    later = postgres.enqueue_one(quick, due_in=3.0)
    again = postgres.enqueue_many(write, [{"ms": 1}] * 200)
    time.sleep(postgres.soniq["DEAD_AFTER"] + 2)  # for sweeps, by workers that could take each other for dead
    go.touch()
    postgres.finish()

    jobs = [*held, later, *again]
    assert [(postgres.job(job).attempts, postgres.job(job).crashes) for job in jobs] == [(1, 0)] * len(jobs)
    assert {event.worker for event in postgres.ledger.events("started")} == {fast.id, slow.id}
    row = postgres.job(later)
    assert 0 <= (row.started_at - row.scheduled_at).total_seconds() < 60  # an hour, if a worker decided


def answers(cluster):
    """Whether it accepts connections within a while."""
    import psycopg

    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            return cluster.value("SELECT 1") == 1
        except psycopg.OperationalError:
            time.sleep(0.1)
    return False
