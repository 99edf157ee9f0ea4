"""What callers meet when they enqueue or poll from the wrong place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import OperationalError, connections

from soniq import BackendNotReady, Soniq
from soniq.jobs import ClaimRequest
from soniq_django.backend import DjangoBackend
from soniq_django.models import Job
from soniq_django.store import errors
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
