"""Faults that need more than processes. Each says what it misses where it cannot run."""

import contextlib
import re
import subprocess
import time

import pytest

from soniq import BackendUnavailable
from tests.faults.harness.namespace import namespace
from tests.faults.harness.pooler import PORT, missing_reason, pooler
from tests.faults.harness.waiting import until
from tests.faults.work.jobs import awrite, write

pytestmark = [pytest.mark.faults, pytest.mark.system]


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


@pytest.fixture
def small_disk(directory):
    """A file system of its own under the scenario's server."""
    mount = directory / "pg"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m,mode=755", "soniq-faults", str(mount)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=False)


def test_a_full_disk_reaches_the_caller_and_stops_no_worker(small_disk, postgres):
    """Enqueue raises; the worker backs off. Once there is space again everything proceeds."""
    worker = postgres.start()
    first = postgres.enqueue_many(write, [{}] * 50)
    postgres.wait_ended()

    ballast = small_disk / "ballast"
    begun = time.time()
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"\0" * (1 << 20))
            file.flush()
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
