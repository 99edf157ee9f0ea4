"""What MariaDB and MySQL ask for beyond the contract: plans, locks, deadlocks, lost sessions, collations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext

from soniq.errors import BackendConflict, BackendUnavailable
from soniq.jobs import ClaimRequest
from soniq.testing.conformance.support import new_jobs, new_worker
from soniq.transitions import cancel, succeed
from soniq_django.backend import DjangoBackend
from soniq_django.models import Job
from soniq_django.store.errors import translated
from tests.support.sessions import end_other_sessions
from tests.support.vendors import ALIASES, MYSQL

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
on_mysql = pytest.mark.parametrize("alias", MYSQL)

PATIENCE = 20.0


def say(alias: str, statement: str) -> list[Any]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def in_thread(alias: str, work: Callable[[], Any]) -> threading.Thread:
    """Work on a connection of its own; the caller joins the thread."""

    def run() -> None:
        try:
            work()
        finally:
            connections[alias].close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@contextmanager
def open_elsewhere(alias: str, work: Callable[[], Any]) -> Iterator[None]:
    """Within the block, another session holds what ``work`` locked in a transaction that stays open."""
    worked, proceed = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(using=alias):
            work()
            worked.set()
            proceed.wait(PATIENCE)

    thread = in_thread(alias, hold)
    try:
        assert worked.wait(PATIENCE)
        yield
    finally:
        proceed.set()
        thread.join()


# -- the schema


@pytest.mark.parametrize("alias", ALIASES)
def test_the_models_suit_every_database_without_a_warning(alias: str) -> None:
    """No condition is left out, so there is nothing that ``check`` or ``migrate`` could warn of."""
    call_command("check", "soniq_django", databases=[alias], fail_level="WARNING")


@pytest.mark.parametrize("alias", ALIASES)
def test_ended_jobs_take_no_room_in_the_indexes_of_live_ones(alias: str) -> None:
    """Where the database can leave them out; where it cannot, other columns stand in."""
    connection = connections[alias]
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        made = [str(each.create_sql(Job, editor)) for each in [*Job._meta.indexes, *Job._meta.constraints]]

    assert len(made) == 5
    partial = ["WHERE" in statement for statement in made]
    assert partial == [connection.features.supports_partial_indexes] * 5


@on_mysql
def test_text_columns_take_all_of_unicode_and_tell_case_and_spaces_apart(alias: str) -> None:
    """Whatever character set and collation the database was made for."""
    found = say(
        alias,
        "SELECT DISTINCT character_set_name, collation_name FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND table_name LIKE 'soniq%' AND data_type = 'varchar'",
    )

    assert found in ([("utf8mb4", "utf8mb4_nopad_bin")], [("utf8mb4", "utf8mb4_0900_bin")])


@pytest.mark.parametrize("alias", ALIASES)
def test_a_search_sees_no_case(alias: str) -> None:
    """As the admin's search has it on every database."""
    DjangoBackend(alias).enqueue(new_jobs(1, job_name="shop.Send_50%"))
    jobs = Job.objects.using(alias)

    assert jobs.filter(job_name__icontains="SEND_50%").count() == 1
    assert jobs.filter(job_name__icontains="SEND-50%").count() == 0


# -- plans


@pytest.mark.slow
@on_mysql
@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "statistics"])
@pytest.mark.parametrize("queues", [None, ["default"], ["default", "emails"]], ids=str)
def test_a_claim_walks_its_index_and_over_nothing_that_is_not_due(
    alias: str, queues: list[str] | None, analyzed: bool
) -> None:
    """It sorts no more than its answer, and reads neither delayed nor finished rows to get there."""
    backend = DjangoBackend(alias)
    mine = new_worker(backend)
    backend.enqueue(new_jobs(3000, priority=5, delay=3600.0))
    backend.enqueue(new_jobs(500, queue="emails", priority=1))
    Job.objects.using(alias).filter(queue="emails").update(status="done")
    backend.enqueue(new_jobs(500))
    if analyzed:
        say(alias, "ANALYZE TABLE soniq_jobs")

    deadline = time.monotonic() + 20
    read = 100
    while read >= 100:  # InnoDB removes the index entries of what was queued before in its own time
        assert time.monotonic() < deadline, f"a claim of 10 rows read {read}"
        with CaptureQueriesContext(connections[alias]) as said:
            before = rows_read(alias)
            claims = backend.claim(
                ClaimRequest(worker_id=mine, limit=10, queues=queues, names=["work", "other"])
            )
            read = rows_read(alias) - before
        assert len(claims) == 10
        time.sleep(0.5)

    plans = [plan for query in said if "SKIP LOCKED" in query["sql"] for plan in explain(alias, query["sql"])]
    assert plans
    assert {plan["key"] for plan in plans} <= {"soniq_jobs_claim", "soniq_jobs_claim_queue"}
    assert not [plan for plan in plans if "filesort" in plan["Extra"]]


@on_mysql
def test_the_next_due_job_is_found_without_reading_the_others(alias: str) -> None:
    """One probe per priority and queue."""
    backend = DjangoBackend(alias)
    backend.enqueue(new_jobs(1000, priority=5, delay=3600.0))
    backend.enqueue(new_jobs(1000, queue="emails", delay=1800.0))
    before = rows_read(alias)

    assert 1700 < (backend.next_due(names=["work"]) or 0) < 1801
    assert 3500 < (backend.next_due(queues=["default", "none"]) or 0) < 3601
    assert rows_read(alias) - before < 50


def rows_read(alias: str) -> int:
    """Rows and index entries that this session has read; on MariaDB, also those passed over within InnoDB."""
    found = say(alias, "SHOW SESSION STATUS WHERE Variable_name REGEXP '^Handler_(read|icp_attempts)'")
    return sum(int(count) for _, count in found)


def explain(alias: str, statement: str) -> list[dict[str, Any]]:
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


# -- enqueue


@on_mysql
def test_an_enqueue_of_a_held_key_does_not_hold_up_the_holder(alias: str) -> None:
    """Though its transaction stays open, the worker can record what became of the job."""
    backend = DjangoBackend(alias)
    [job_id] = backend.enqueue(new_jobs(1, unique_key="k"))
    [claim] = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=1))

    def enqueue_again() -> None:
        assert backend.enqueue(new_jobs(1, unique_key="k")) == [job_id]

    with open_elsewhere(alias, enqueue_again), impatient(alias):
        assert backend.apply([succeed(claim, result_json=None, ttl=60)]) == [True]


@on_mysql
def test_an_id_that_is_taken_is_refused_and_its_job_left_alone(alias: str) -> None:
    """Also for a unique job, whose INSERT forgives one that holds the key."""
    backend = DjangoBackend(alias)
    [there] = new_jobs(1)
    backend.enqueue([there])

    with pytest.raises(DatabaseError, match="1062"):
        backend.enqueue(new_jobs(1, id=there.id, unique_key="k"))

    assert Job.objects.using(alias).get().unique_key is None


@pytest.mark.parametrize("alias", ALIASES)
def test_jobs_with_long_arguments_are_stored_in_several_statements(alias: str) -> None:
    """A server takes statements up to a limit, 16 MB by default on MySQL."""
    backend = DjangoBackend(alias)
    text = '{"text": "%s"}' % ("x" * 1_000_000)

    ids = backend.enqueue(new_jobs(20, args_json=text))

    stored = Job.objects.using(alias).order_by("id").values_list("id", flat=True)
    assert [str(job_id) for job_id in stored] == ids


@on_mysql
@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
def test_the_holder_of_a_key_is_the_present_one(alias: str, level: str) -> None:
    """Whatever the caller's transaction had seen before its holder ended."""
    backend = DjangoBackend(alias)
    backend.enqueue(new_jobs(1, unique_key="k"))
    [claim] = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=1))
    [new] = new_jobs(1, unique_key="k")

    with isolated(alias, level), transaction.atomic(using=alias):
        assert backend.queue_stats()["processing"] == 1
        in_thread(alias, lambda: backend.apply([succeed(claim, result_json=None, ttl=60)])).join()

        assert backend.enqueue([new]) == [new.id]

    assert backend.queue_stats()["queued"] == 1


@contextmanager
def isolated(alias: str, level: str) -> Iterator[None]:
    """Within the block, this thread's session has another isolation level."""
    connection = connections[alias]
    connection.close()
    connection.settings_dict["OPTIONS"]["isolation_level"] = level
    try:
        yield
    finally:
        del connection.settings_dict["OPTIONS"]["isolation_level"]
        connection.close()


@contextmanager
def impatient(alias: str) -> Iterator[None]:
    """Within the block, this thread's session waits a second for a lock, not fifty."""
    say(alias, "SET SESSION innodb_lock_wait_timeout = 1")
    try:
        yield
    finally:
        connections[alias].close()


# -- errors


@pytest.mark.slow
@on_mysql
def test_a_lock_that_does_not_come_is_a_conflict(alias: str) -> None:
    """Trying again later is right, and the session stays usable."""
    backend = DjangoBackend(alias)
    [job_id] = backend.enqueue(new_jobs(1))

    with open_elsewhere(alias, lambda: list(Job.objects.using(alias).select_for_update())), impatient(alias):
        with pytest.raises(BackendConflict, match="1205"):
            backend.apply([cancel(job_id, ttl=60)])
        assert backend.get_job(job_id) is not None

    assert backend.apply([cancel(job_id, ttl=60)]) == [True]


@on_mysql
@pytest.mark.parametrize("within", ["nothing", "atomic", "a transaction by hand"])
def test_a_deadlock_is_tried_again_unless_it_took_the_callers_transaction(alias: str, within: str) -> None:
    """InnoDB rolls back all of the transaction that it chooses, so the caller has to hear of it."""
    backend = DjangoBackend(alias)
    first, second = backend.enqueue(new_jobs(2))
    cancels = [cancel(first, ttl=60), cancel(second, ttl=60)]

    with deadlock(alias, first, second):
        if within == "nothing":
            assert backend.apply(cancels) == [True, True]
        elif within == "atomic":
            with pytest.raises(BackendConflict, match="1213"), transaction.atomic(using=alias):
                backend.apply(cancels)
        else:
            transaction.set_autocommit(False, using=alias)
            with pytest.raises(BackendConflict, match="1213"):
                backend.apply(cancels)
            transaction.rollback(using=alias)
            transaction.set_autocommit(True, using=alias)

    assert backend.queue_stats()["cancelled"] == (2 if within == "nothing" else 0)


@contextmanager
def deadlock(alias: str, first: str, second: str) -> Iterator[None]:
    """Within the block, whoever locks these rows in order meets another who locks them in the other."""
    locked = threading.Event()
    [(victim,)] = say(alias, "SELECT CONNECTION_ID()")
    rows = Job.objects.using(alias)
    waits = f"SELECT 1 FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = {victim}"

    def the_other_way_round() -> None:
        with transaction.atomic(using=alias):
            # InnoDB chooses the transaction that has written less.
            rows.bulk_create([Job(job_name="heavy") for _ in range(50)])
            assert rows.select_for_update().get(pk=second)
            locked.set()
            until(lambda: say(alias, f"{waits} AND trx_state = 'LOCK WAIT'"))
            assert rows.select_for_update().get(pk=first)
            transaction.set_rollback(True, using=alias)

    thread = in_thread(alias, the_other_way_round)
    try:
        assert locked.wait(PATIENCE)
        yield
    finally:
        thread.join()


@on_mysql
def test_a_server_that_is_read_only_is_unavailable_and_asked_anew(alias: str) -> None:
    """As after a failover: the next call connects again, and may find the primary."""
    backend = DjangoBackend(alias)
    say(alias, "SET SESSION TRANSACTION READ ONLY")
    connections[alias].close_at = None  # as with CONN_MAX_AGE = None: kept while it works

    with pytest.raises(BackendUnavailable, match="READ ONLY"):
        backend.enqueue(new_jobs(1))

    assert len(backend.enqueue(new_jobs(1))) == 1


@on_mysql
def test_a_value_that_is_refused_is_not_taken_for_an_outage(alias: str) -> None:
    """A worker that waited for the database to come back would wait for ever."""
    DjangoBackend(alias).enqueue(new_jobs(1))

    with pytest.raises(OperationalError, match="1292"), translated(alias):
        say(alias, "UPDATE soniq_jobs SET scheduled_at = 'never'")


@on_mysql
def test_a_lost_session_is_unavailable_once(alias: str) -> None:
    """The next call connects again."""
    backend = DjangoBackend(alias)
    backend.enqueue(new_jobs(1))
    in_thread(alias, lambda: end_other_sessions(alias)).join()

    with pytest.raises(BackendUnavailable):
        backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=1))

    assert len(backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=1))) == 1


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)  # innodb_trx is a copy that is renewed once nobody has read it for 0.1 s
