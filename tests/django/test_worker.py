"""Jobs that use the ORM, and what they may do to a connection."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import connections, transaction

from soniq import Soniq
from tests.shop.models import Note
from tests.yard.jobs import awrite_note, write_note

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def notes(alias: str) -> list[str]:
    return sorted(Note.objects.using(alias).values_list("text", flat=True))


async def anotes(alias: str) -> list[str]:
    return sorted([note.text async for note in Note.objects.using(alias)])


async def test_sync_and_async_jobs_write_through_the_orm(app: Soniq, alias: str) -> None:
    """Both kinds of job use Django's connections from wherever they run."""
    await write_note.aenqueue(text="sync", alias=alias)
    await awrite_note.aenqueue(text="async", alias=alias)

    assert await app.run_worker(run_once=True, concurrency=2) is True

    assert await anotes(alias) == ["async", "sync"]


async def test_a_slot_keeps_its_thread_and_connection(app: Soniq, alias: str) -> None:
    """Ten jobs in one slot open one connection, on one thread."""
    seen = set()

    @app.job
    def look() -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
        seen.add((threading.get_ident(), id(connections[alias].connection)))

    await app.enqueue_many(look, [{}] * 10)
    await app.run_worker(run_once=True)

    assert len(seen) == 1


async def test_an_async_job_without_the_orm_starts_no_thread(app: Soniq) -> None:
    """What costs a thread is the ORM, not the job."""
    seen = []

    @app.job
    async def look() -> None:
        seen.extend(t.name for t in threading.enumerate() if t.name.startswith("soniq-slot"))

    await app.enqueue(look)
    await app.run_worker(run_once=True)

    assert seen == []


@pytest.mark.parametrize("leave", ["open", "aborted", "manual", "closed"])
async def test_the_next_job_gets_a_clean_connection(app: Soniq, alias: str, leave: str) -> None:
    """A transaction left open or aborted, autocommit off, a closed connection: none of it is inherited."""

    @app.job(max_retries=0)
    def spoil() -> None:
        connection = connections[alias]
        if leave == "closed":
            connection.close()
        elif leave == "manual":
            transaction.set_autocommit(False, using=alias)
            Note.objects.using(alias).create(text="uncommitted")
        else:
            transaction.atomic(using=alias).__enter__()
            Note.objects.using(alias).create(text="uncommitted")
            if leave == "aborted":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT no_such_column FROM no_such_table")

    spoiled = await app.enqueue(spoil)
    after = await app.enqueue(write_note, text="after", alias=alias)
    await app.run_worker(run_once=True)

    assert await anotes(alias) == ["after"]
    assert (await app.get_job(after))["status"] == "done"
    outcome = await app.get_job(spoiled) or await app.dead_letter.get_dead_letter_job(spoiled)
    assert outcome is not None


async def test_an_async_job_leaves_nothing_open_either(app: Soniq, alias: str) -> None:
    """The thread that served an async job's ORM calls is cleaned like any other."""
    from asgiref.sync import sync_to_async

    @app.job(max_retries=0)
    async def spoil() -> None:
        await sync_to_async(transaction.atomic(using=alias).__enter__)()
        await Note.objects.using(alias).acreate(text="uncommitted")

    await app.enqueue(spoil)
    await app.enqueue(awrite_note, text="after", alias=alias)
    await app.run_worker(run_once=True)

    assert await anotes(alias) == ["after"]


async def test_a_task_that_outlives_its_job_gets_no_connection(app: Soniq, alias: str) -> None:
    """It would share the next job's; it is told so instead."""
    go = asyncio.Event()
    left = []

    async def late() -> None:
        await go.wait()
        await Note.objects.using(alias).acreate(text="late")

    @app.job(max_retries=0)
    async def parent() -> None:
        left.append(asyncio.create_task(late()))
        await Note.objects.using(alias).acreate(text="parent")

    @app.job(max_retries=0)
    async def following() -> None:
        go.set()
        with pytest.raises(RuntimeError, match="the job that started this task has ended"):
            await left[0]
        await Note.objects.using(alias).acreate(text="following")

    await app.enqueue(parent)
    await app.enqueue(following)
    await app.run_worker(run_once=True)

    assert await anotes(alias) == ["following", "parent"]


async def test_a_job_enqueues_into_its_own_transaction(app: Soniq, alias: str) -> None:
    """What a job enqueues and then rolls back never was."""

    @app.job(max_retries=0)
    def parent() -> None:
        with transaction.atomic(using=alias):
            write_note.enqueue(text="child", alias=alias)
        with transaction.atomic(using=alias):
            write_note.enqueue(text="never", alias=alias)
            transaction.set_rollback(True, using=alias)

    await app.enqueue(parent)
    await app.run_worker(run_once=True)

    assert await anotes(alias) == ["child"]


async def test_the_worker_leaves_no_connection_behind(app: Soniq, alias: str) -> None:
    """Every thread that a worker started closes what it opened."""
    opened = []

    @app.job
    def look() -> None:
        connections[alias].ensure_connection()
        opened.append(connections[alias])

    await app.enqueue(look)
    await app.run_worker(run_once=True)

    assert [wrapper.connection for wrapper in opened] == [None]
    assert not [t for t in threading.enumerate() if t.name.startswith("soniq")]
