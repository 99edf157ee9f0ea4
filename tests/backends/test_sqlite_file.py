"""What can happen to a file: locked, gone, replaced, read-only, damaged, inherited by a fork."""

import asyncio
import gc
import os
import shutil
import sqlite3
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from soniq.backends.sqlite import SQLiteBackend
from soniq.errors import BackendError, BackendUnavailable
from soniq.jobs import ClaimRequest, JobStatus
from soniq.records import DeadLetterFilter
from soniq.testing.conformance.support import (
    buried,
    claimed,
    enqueue_one,
    new_job,
    new_jobs,
    new_worker,
    take,
)
from soniq.transitions import succeed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "größe %20?#"
    folder.mkdir()
    return folder / "jobs.db"


@pytest.fixture
def backend(path: Path) -> Iterator[SQLiteBackend]:
    backend = SQLiteBackend(path, busy_timeout=0.1)
    backend.setup()
    yield backend
    backend.close()


@pytest.fixture
def intruder(backend: SQLiteBackend, path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the file."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


# -- locks


def test_writes_fail_by_name_while_another_program_holds_the_lock(
    backend: SQLiteBackend, path: Path, intruder: sqlite3.Connection
) -> None:
    enqueue_one(backend)
    worker = new_worker(backend)
    intruder.execute("BEGIN IMMEDIATE")
    for write in (
        lambda: enqueue_one(backend),
        lambda: backend.claim(ClaimRequest(worker_id=worker, limit=1)),
        lambda: backend.beat(worker),
    ):
        with pytest.raises(BackendUnavailable, match="another program keeps it locked") as caught:
            write()
        assert str(path) in str(caught.value)
    intruder.execute("ROLLBACK")

    assert backend.beat(worker) is True
    assert take(backend, worker).attempt == 1


def test_reads_and_idle_claims_do_not_wait_for_a_writer(
    backend: SQLiteBackend, intruder: sqlite3.Connection
) -> None:
    job_id = enqueue_one(backend, delay=60)
    worker = new_worker(backend)
    intruder.execute("BEGIN IMMEDIATE")

    assert backend.get_job(job_id) is not None
    assert backend.count_due() == 0
    assert backend.claim(ClaimRequest(worker_id=worker, limit=1)) == []


def test_a_lock_within_the_busy_timeout_is_waited_for(path: Path) -> None:
    patient = SQLiteBackend(path, busy_timeout=30)
    patient.setup()
    intruder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    intruder.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.1, lambda: intruder.execute("COMMIT"))
    timer.start()
    job_id = enqueue_one(patient)
    timer.join()
    intruder.close()

    assert patient.get_job(job_id) is not None
    patient.close()


def test_an_error_within_a_transaction_leaves_no_lock_behind(
    backend: SQLiteBackend, intruder: sqlite3.Connection
) -> None:
    with pytest.raises(BackendError, match="refused a row"):
        backend.enqueue([new_job(), new_job()._replace(job_name=None)])  # type: ignore[arg-type]  # breaks the job on purpose
    intruder.execute("BEGIN IMMEDIATE")
    intruder.execute("ROLLBACK")


def test_an_id_that_is_taken_is_refused(backend: SQLiteBackend) -> None:
    job = new_job()
    backend.enqueue([job])
    with pytest.raises(BackendError, match="refused a row"):
        backend.enqueue([new_job(), job])

    assert backend.queue_stats()["total"] == 1


# -- the file goes away


def test_a_store_that_was_not_set_up_says_so(path: Path) -> None:
    with pytest.raises(BackendUnavailable, match=r"setup\(\)"):
        SQLiteBackend(path).count_due()

    assert not path.exists()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "jobs.db"
    with pytest.raises(BackendUnavailable, match="check that its directory exists") as caught:
        SQLiteBackend(missing).setup()

    assert str(missing) in str(caught.value)


def test_a_deleted_file_is_noticed_by_open_connections(backend: SQLiteBackend, path: Path) -> None:
    """SQLite itself would write on into the file that nobody sees."""
    enqueue_one(backend)
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(BackendUnavailable, match=r"setup\(\)"):
        enqueue_one(backend)
    with pytest.raises(BackendUnavailable):
        backend.count_due()
    backend.setup()

    assert backend.count_due() == 0


def test_a_deleted_directory_is_noticed_by_open_connections(backend: SQLiteBackend, path: Path) -> None:
    enqueue_one(backend)
    shutil.rmtree(path.parent)
    with pytest.raises(BackendUnavailable, match="check that its directory exists"):
        enqueue_one(backend)


def test_a_replaced_file_is_used_from_then_on(backend: SQLiteBackend, path: Path) -> None:
    enqueue_one(backend)
    other = SQLiteBackend(path.with_name("other.db"))
    other.setup()
    job_id = enqueue_one(other)
    other.close()
    for file in path.parent.glob("jobs.db*"):
        file.unlink()
    path.with_name("other.db").rename(path)

    assert [job.id for job in backend.list_jobs()] == [job_id]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only files")
def test_a_read_only_file_is_named(backend: SQLiteBackend, path: Path) -> None:
    enqueue_one(backend)
    backend.release()
    path.chmod(0o400)
    with pytest.raises(BackendUnavailable, match="allow writing"):
        enqueue_one(backend)
    path.chmod(0o600)

    backend.release()
    assert backend.count_due() == 1


def test_a_file_of_another_kind_is_named(path: Path) -> None:
    path.write_text("this is no database\n" * 100)
    with pytest.raises(BackendUnavailable, match="not a database"):
        SQLiteBackend(path).setup()


# -- rows edited by hand


def test_arguments_that_are_not_json_do_not_stop_a_claim(
    backend: SQLiteBackend, intruder: sqlite3.Connection
) -> None:
    backend.enqueue(new_jobs(2))
    intruder.execute("UPDATE soniq_jobs SET args_json = '{broken' WHERE rowid = 1")
    claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=2))

    assert [claim.args for claim in claims] == ["{broken", {}]


# -- connections


def test_a_forked_child_opens_a_connection_of_its_own(backend: SQLiteBackend) -> None:
    backend.enqueue(new_jobs(50))
    worker = new_worker(backend)
    inherited = backend._connections._mine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads may be alive here
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            own = backend._connections._mine()
            taken = backend.claim(ClaimRequest(worker_id=worker, limit=20))
            answer = asyncio.run(backend.run(backend.count_due))
            backend.close()
            status = 0 if own is not inherited and len(taken) == 20 and answer == 30 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    assert backend._connections._mine() is inherited
    assert len(backend.claim(ClaimRequest(worker_id=worker, limit=50))) == 30


def test_each_thread_has_a_connection_until_it_lets_go(backend: SQLiteBackend) -> None:
    def use() -> None:
        enqueue_one(backend)
        open_in_thread.append(len(backend._connections._all))
        backend.release()
        open_in_thread.append(len(backend._connections._all))

    backend.count_due()
    open_in_thread: list[int] = []
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    gc.collect()

    assert open_in_thread == [2, 1]


def test_a_thread_that_forgets_to_let_go_leaves_nothing_open(backend: SQLiteBackend) -> None:
    backend.count_due()
    thread = threading.Thread(target=enqueue_one, args=(backend,))
    thread.start()
    thread.join()
    gc.collect()

    assert len(backend._connections._all) == 1


def test_closing_through_run_is_allowed(path: Path) -> None:
    async def use() -> None:
        backend = SQLiteBackend(path)
        await backend.run(backend.setup)
        await backend.run(backend.enqueue, new_jobs(3))
        await backend.run(backend.close)

    asyncio.run(use())
    again = SQLiteBackend(path)

    assert again.count_due() == 3
    again.close()


def test_jobs_survive_the_store_that_wrote_them(backend: SQLiteBackend, path: Path) -> None:
    claim = claimed(backend)
    backend.close()
    again = SQLiteBackend(path)

    assert again.apply([succeed(claim, result_json="1", ttl=None)]) == [True]
    [job] = again.list_jobs(status=JobStatus.DONE)
    assert job.id == claim.job_id
    again.close()


def test_the_clock_is_the_one_that_was_given(path: Path) -> None:
    now = [1_900_000_000.123_456_7]
    backend = SQLiteBackend(path, clock=lambda: now[0])
    backend.setup()
    enqueue_one(backend, delay=60)
    assert backend.next_due() == pytest.approx(60)
    now[0] += 61

    assert backend.count_due() == 1
    backend.close()


def test_instants_are_stored_as_exactly_as_they_are_told(path: Path) -> None:
    """A clock finer than a record's microseconds must not put a row before its own time."""
    backend = SQLiteBackend(path, clock=lambda: 1_900_000_000.123_456_7)
    backend.setup()
    buried(backend)
    [letter] = backend.list_dead_letters(DeadLetterFilter())
    since = DeadLetterFilter(date_from=letter.moved_to_dead_letter_at)

    assert backend.list_dead_letters(since) == [letter]
    backend.close()


# -- query plans


@pytest.mark.parametrize("skip_own", [False, True])
@pytest.mark.parametrize("queues", [None, ["default", "b"]])
@pytest.mark.parametrize("names", [None, ["work"]])
def test_a_claim_reads_the_claim_order_and_sorts_nothing(
    backend: SQLiteBackend, queues: list[str] | None, names: list[str] | None, skip_own: bool
) -> None:
    enqueue_one(backend)
    run: list[str] = []
    connection = backend._connections._mine()
    connection.set_trace_callback(run.append)
    backend.claim(ClaimRequest(worker_id="w", limit=10, queues=queues, names=names, skip_own=skip_own))
    connection.set_trace_callback(None)
    [statement] = [one for one in run if "ORDER BY" in one]
    plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]

    assert "soniq_jobs_claim_order" in plan[0]
    assert not [step for step in plan if "TEMP B-TREE" in step]
