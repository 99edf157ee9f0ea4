"""What callers meet when they enqueue or poll from the wrong place."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import OperationalError, connections, transaction
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from soniq import BackendNotReady, PayloadTooLarge, Soniq
from soniq.jobs import ClaimRequest
from soniq_django.backend import DjangoBackend
from soniq_django.models import Job
from soniq_django.store import errors
from tests.shop.models import Note
from tests.support.vendors import ALIASES, SQLITE
from tests.yard.jobs import noop, write_note

WORKER = "01a203eb-25b7-7d0e-a829-37a947cf3f2f"


@pytest.mark.django_db(transaction=True, databases="__all__")
async def test_a_sync_enqueue_in_async_code_names_the_async_one(app: Soniq) -> None:
    """Django's own words would send the reader to sync_to_async."""
    for call in (noop.enqueue, lambda: noop.enqueue_many([{}])):
        with pytest.raises(SynchronousOnlyOperation, match=r"await aenqueue\(\) or aenqueue_many\(\)"):
            call()

    assert await app.list_jobs() == []


def test_a_missing_table_names_the_whole_command() -> None:
    """A migrate of the default database would not make the tables elsewhere."""
    missing = OperationalError("no such table: soniq_jobs")

    for alias, command in (("default", "migrate"), ("jobs", "migrate --database jobs")):
        error = errors._unavailable(alias, missing)
        assert isinstance(error, BackendNotReady)
        assert str(error) == f"{alias}: no such table: soniq_jobs; run manage.py {command}"


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", SQLITE)
def test_an_idle_worker_does_not_wait_for_the_write_lock(alias: str) -> None:
    """SQLite has one for the whole file, and idle workers look again and again."""
    backend = DjangoBackend(alias)
    backend.claim(ClaimRequest(worker_id=WORKER, limit=1))  # connected
    other = sqlite3.connect(connections[alias].settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    connections[alias].cursor().execute("PRAGMA busy_timeout = 0")
    try:
        assert backend.claim(ClaimRequest(worker_id=WORKER, limit=1)) == []
        assert backend.exchange([], ClaimRequest(worker_id=WORKER, limit=1)) == ([], [])
    finally:
        other.close()
        connections[alias].close()


class Undo(Exception):
    """Ends a generator."""


@pytest.mark.slow
@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_a_generator_is_read_as_its_jobs_are_stored(app: Soniq, alias: str) -> None:
    """So a million jobs need not fit into memory; all the same it is all of them or none."""
    seen: list[int] = []

    def arguments(count: int) -> Iterator[dict[str, str]]:
        for number in range(count):
            if number % 1000 == 0:
                seen.append(Job.objects.using(alias).count())
            yield {"text": str(number)}
        if count > 5000:
            raise Undo

    with pytest.raises(Undo):
        write_note.enqueue_many(arguments(6000))
    assert seen == sorted(seen)
    assert 0 < seen[3] < seen[-1]
    assert Job.objects.using(alias).count() == 0

    assert len(write_note.enqueue_many(arguments(5000))) == 5000
    assert Job.objects.using(alias).count() == 5000


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_job_enqueued_by_a_receiver_shares_the_fate_of_what_it_tells_of(app: Soniq, alias: str) -> None:
    """Of a row that is rolled back there is no job; of one that is committed there is."""

    def tell(**_: object) -> None:
        noop.enqueue()

    post_save.connect(tell, sender=Note)
    try:
        with suppress(Undo), transaction.atomic(alias):
            Note.objects.using(alias).create(text="undone")
            raise Undo
        assert app.backend.list_jobs() == []

        with transaction.atomic(alias):
            Note.objects.using(alias).create(text="kept")
    finally:
        post_save.disconnect(tell, sender=Note)
    assert len(app.backend.list_jobs()) == 1


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_thread_enqueues_on_a_connection_of_its_own(app: Soniq, alias: str) -> None:
    """Its job is there at once, whatever becomes of the block that the thread was started in."""
    ids = []

    def work() -> None:
        try:
            ids.append(noop.enqueue())
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    if (
        connections[alias].vendor == "sqlite"
    ):  # one writer at a time: a block that had written would hold the thread up
        thread.start()
        thread.join()
    else:
        with suppress(Undo), transaction.atomic(alias):
            noop.enqueue()
            thread.start()
            thread.join()
            raise Undo
    assert [job.id for job in app.backend.list_jobs()] == ids


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_300_megabytes_of_arguments_are_refused_before_a_byte_is_sent(app: Soniq, alias: str) -> None:
    """The database hears nothing of it, and neither of the small ones in the same batch."""
    echo = app.job(name="echo")(lambda text: text)
    huge = "x" * 300_000_000
    connections[alias].ensure_connection()

    with CaptureQueriesContext(connections[alias]) as queries:
        with pytest.raises(PayloadTooLarge, match=r"over the limit of 1,048,576; store the data elsewhere"):
            echo.enqueue(text=huge)
        with pytest.raises(PayloadTooLarge, match=r"args_list\[1\]"):
            echo.enqueue_many([{"text": "small"}, {"text": huge}])

    assert not [query["sql"] for query in queries if "soniq_jobs" in query["sql"]]
    assert not Job.objects.using(alias).exists()
