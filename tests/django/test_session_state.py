"""What a job changes in its database session ends with the job."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from soniq import Soniq
from soniq_django.session_state import outlasts_transaction
from tests.shop.models import Note
from tests.support.vendors import MYSQL, POSTGRES
from tests.yard.jobs import write_note

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

# Each does harm to the job after it, unless it ends with its own.
LEFT = {
    "postgresql": [
        "SET search_path = pg_catalog",
        "SET default_transaction_read_only = on",
        "SELECT set_config('search_path', 'pg_catalog', false)",
        "CREATE TEMPORARY TABLE shop_note (id int)",
    ],
    "mysql": ["SET SESSION TRANSACTION READ ONLY", "CREATE TEMPORARY TABLE shop_note (id int)"],
    "sqlite": ["PRAGMA query_only = ON", "CREATE TEMPORARY TABLE shop_note (id int)"],
}


def execute(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_settings_and_temporary_tables_of_a_job_end_with_it(
    app: Soniq, alias: str, is_async: bool
) -> None:
    """The job after it, on the same slot, writes as ever."""
    statements = LEFT[connections[alias].vendor]

    @app.job(max_retries=0)
    def leave(sql: str) -> None:
        execute(alias, sql)

    @app.job(max_retries=0)
    async def aleave(sql: str) -> None:
        await sync_to_async(execute)(alias, sql)

    for sql in statements:
        await app.enqueue(aleave if is_async else leave, sql=sql)
        await app.enqueue(write_note, text=sql, alias=alias)
    await app.run_worker(run_once=True)

    written = [note.text async for note in Note.objects.using(alias)]
    assert sorted(written) == sorted(statements)


@pytest.mark.parametrize("alias", POSTGRES, indirect=True)
async def test_a_session_goes_back_into_no_pool_with_what_a_job_set_in_it(
    app: Soniq, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is closed before, and the pool opens another."""
    pytest.importorskip("psycopg_pool")
    options = {**connections.settings[alias]["OPTIONS"], "pool": {"min_size": 1, "max_size": 4}}
    monkeypatch.setitem(connections.settings[alias], "OPTIONS", options)

    @app.job(max_retries=0)
    def leave() -> None:
        execute(alias, "SET default_transaction_read_only = on")

    await app.enqueue(leave)
    await app.enqueue(write_note, text="after", alias=alias)
    pool = DatabaseWrapper(connections.settings[alias], alias)
    try:
        await app.run_worker(run_once=True)
    finally:
        pool.close_pool()

    assert [note.text async for note in Note.objects.using(alias)] == ["after"]


@pytest.mark.parametrize("alias", [*POSTGRES, *MYSQL], indirect=True)
async def test_a_lock_of_a_session_ends_with_the_job_that_took_it(app: Soniq, alias: str) -> None:
    """Also if the job raised before it came to the unlocking; nobody else could do that."""
    postgres = connections[alias].vendor == "postgresql"
    lock = "SELECT pg_advisory_lock(4711)" if postgres else "SELECT GET_LOCK('4711', 0)"
    ask = "SELECT pg_try_advisory_lock(4711)" if postgres else "SELECT IS_FREE_LOCK('4711')"
    free: list[Any] = []

    @app.job(max_retries=0)
    def take() -> None:
        execute(alias, lock)
        raise ValueError

    @app.job(max_retries=0)
    def look() -> None:
        thread = threading.Thread(target=ask_elsewhere)
        thread.start()
        thread.join()

    def ask_elsewhere() -> None:
        try:
            with connections[alias].cursor() as cursor:
                cursor.execute(ask)
                free.append(cursor.fetchone()[0])
        finally:
            connections.close_all()

    await app.enqueue(take)
    await app.enqueue(look)
    await app.run_worker(run_once=True)

    assert free == [1]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "UPDATE shop_note SET text = 'set'",
        "INSERT INTO shop_note (text) VALUES (%s)",
        "SET LOCAL statement_timeout = 5",
        "set transaction read only",
        "SET CONSTRAINTS ALL DEFERRED",
        "SELECT set_config('app.tenant', %s, true)",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_try_advisory_xact_lock(1)",
        "SAVEPOINT s1",
    ],
)
def test_what_ends_with_its_transaction_costs_no_connection(sql: str) -> None:
    """Nor does anything usual."""
    assert not outlasts_transaction(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SET ROLE reader",
        "  set statement_timeout = 5",
        "-- as the tenant\nSET search_path = tenant",
        "/* as the tenant */ SET search_path = tenant",
        "SELECT 1; SET search_path = tenant",
        "SELECT set_config('app.tenant', %s, false)",
        "SELECT pg_try_advisory_lock(1)",
        "LISTEN orders",
        "PREPARE plan AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "SELECT * INTO TEMP old FROM shop_note",
        "LOCK TABLES shop_note READ",
        "USE other",
        "ATTACH DATABASE 'other' AS other",
        psycopg.sql.SQL("SET ROLE {}").format(psycopg.sql.Identifier("reader")),
        b"SET ROLE reader",
        "SELECT set_config('a', 'x', true), set_config('b', 'y', false)",
        "LOCK TABLE shop_note WRITE",
        "FLUSH TABLES WITH READ LOCK",
        "RESET ROLE",
        psycopg.sql.Literal(object),  # psycopg cannot write it
        object,
    ],
    ids=str,
)
def test_what_stays_with_the_session_is_seen(sql: Any) -> None:
    """However it is written."""
    assert outlasts_transaction(sql)


async def test_a_slot_keeps_its_connection_from_usual_job_to_usual_job(app: Soniq, alias: str) -> None:
    """What Django itself sets when it connects is not a job's doing."""
    seen: list[int] = []

    @app.job
    def look() -> None:
        execute(alias, "SELECT 1")
        seen.append(id(connections[alias].connection))

    await app.enqueue_many(look, [{}] * 5)
    await app.run_worker(run_once=True)

    assert len(set(seen)) == 1
