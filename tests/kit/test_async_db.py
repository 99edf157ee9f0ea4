"""Async tests within the transaction of the fixture db."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from soniq_django.testing import adrain_jobs, aenqueued_jobs, capture_jobs, testing_mode
from tests.shop.models import Note
from tests.yard.jobs import awrite_note, write_note

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.mark.parametrize("again", [1, 2])
async def test_async_code_uses_the_tests_transaction_and_leaves_nothing(again, app, alias, async_db):
    assert await sync_to_async(lambda: connections[alias].in_atomic_block)()
    assert await Note.objects.using(alias).acount() == 0

    async with capture_jobs() as jobs:
        await awrite_note.aenqueue(text="async", alias=alias)
        await write_note.aenqueue(text="sync", alias=alias)

    assert len(jobs) == 2
    assert (await adrain_jobs(raising=True)).succeeded == 2
    assert await Note.objects.using(alias).acount() == 2
    (await aenqueued_jobs()).assert_enqueued(write_note, count=1)


async def test_jobs_run_inline_too(app, alias, async_db):
    with testing_mode("inline"):
        await awrite_note.aenqueue(text="async", alias=alias)
    assert await Note.objects.using(alias).acount() == 1


async def test_failed_statement_leaves_the_transaction_usable(app, alias, async_db):
    note = await Note.objects.using(alias).acreate(text="kept")

    @app.job(max_retries=0)
    async def double():
        await Note.objects.using(alias).acreate(pk=note.pk, text="the same key")

    await double.aenqueue()

    assert (await adrain_jobs()).dead_lettered == 1
    assert await Note.objects.using(alias).acount() == 1


@pytest.fixture
def nothing_committed(alias, django_db_blocker):
    """What async tests wrote must be gone with their transaction."""
    yield
    with django_db_blocker.unblock():
        connection = connections[alias].copy()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM shop_note")
                assert cursor.fetchone() == (0,)
        finally:
            connection.close()


async def test_nothing_is_committed(nothing_committed, app, alias, async_db):
    await Note.objects.using(alias).acreate(text="never")


@pytest.mark.django_db(transaction=True, databases="__all__")
async def test_connections_are_their_threads_own_again(alias, transactional_db, closed_connections):
    note = await Note.objects.using(alias).acreate(text="committed")
    await note.adelete()
