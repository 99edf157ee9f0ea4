"""SQLite: one writer at a time, strangers who hold the lock, files that vanish or refuse."""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.harness.seeds import size
from tests.faults.harness.waiting import until
from tests.faults.work.jobs import hold_again, quick, write

pytestmark = pytest.mark.faults


@pytest.mark.timeout(600)
def test_many_processes_share_one_file(sqlite):
    """No error escapes, no job is claimed twice, none is lost."""
    processes = size("PROCESSES", small=4, full=8)
    jobs = size("SQLITE_JOBS", small=400, full=8_000)
    workers = sqlite.start_many(processes, "--concurrency", "2")
    sqlite.enqueue_many(write, [{"ms": 1}] * jobs)
    sqlite.wait_ended(300)
    assert all(worker.alive for worker in workers)
    assert not any("Traceback" in worker.log for worker in workers)
    sqlite.finish()
    sqlite.check_rows()


def test_a_stranger_who_holds_the_write_lock_is_waited_for(sqlite):
    """For three times the busy timeout; the worker backs off, and its heart catches up."""
    worker = sqlite.start(DEAD_AFTER=60.0)
    busy = sqlite.database["OPTIONS"]["timeout"]
    with closing(sqlite3.connect(sqlite.database["NAME"], isolation_level=None)) as stranger:
        sqlite.enqueue_many(quick, [{}] * 10)
        sqlite.wait_ended()
        sqlite.enqueue_many(quick, [{}] * 10)
        stranger.execute("BEGIN EXCLUSIVE")
        time.sleep(3 * busy)
        stranger.execute("ROLLBACK")
    assert worker.alive
    beats = len(worker.log.splitlines())
    sqlite.finish()
    assert beats < 100  # it did not spin


def test_a_stranger_in_the_way_of_an_outcome_delays_it_only(sqlite):
    """The job was run, and is recorded once the lock is free."""
    go = sqlite.path()
    worker = sqlite.start(DEAD_AFTER=60.0)
    held = sqlite.enqueue(hold_again, until=str(go))
    sqlite.wait_started(held)
    with closing(sqlite3.connect(sqlite.database["NAME"], isolation_level=None)) as stranger:
        stranger.execute("BEGIN EXCLUSIVE")
        go.touch()
        worker.wait_for_log("trying again")
        stranger.execute("ROLLBACK")
    sqlite.finish()
    assert len(sqlite.ledger.events("started", held)) == 1


def test_a_deleted_file_is_named_and_does_not_make_it_spin(sqlite):
    """The worker says what is missing, now and then, and can be stopped."""
    worker = sqlite.start()
    path = sqlite.database["NAME"]
    for file in (Path(path), Path(f"{path}-wal"), Path(f"{path}-shm")):
        if file.exists():
            file.rename(f"{file}.away")
    before = len(worker.log.splitlines())
    worker.wait_for_log("no such table|unable to open|disk I/O|readonly|file is not a database")
    time.sleep(3)
    assert len(worker.log.splitlines()) - before < 60
    assert worker.alive
    worker.stop()


def test_a_read_only_file_is_named_and_waited_for(sqlite):
    """Once it can be written, the worker goes on."""
    within = ()
    if os.geteuid() == 0:  # root may write to read-only files, unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("root may write to read-only files, and no program setpriv is there to forbid it")
        within = ("setpriv", "--bounding-set=-dac_override")
    worker = sqlite.start(within=within)
    path = sqlite.database["NAME"]
    Path(path).chmod(0o400)
    worker.wait_for_log("readonly|read-only")
    Path(path).chmod(0o600)
    sqlite.enqueue(quick)
    until(lambda: sqlite.ledger.count("finished") == 1, sqlite.describe)
    sqlite.finish()
