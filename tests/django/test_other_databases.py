"""Enqueues within transactions of databases that do not hold the jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.test import TestCase

from soniq import InvalidArguments, InvalidEnqueue, Soniq, default_app
from soniq.errors import BackendUnavailable
from soniq_django.backend import DjangoBackend
from soniq_django.connections import DjangoEnvironment
from soniq_django.models import Job
from tests.shop.models import Note
from tests.yard.jobs import noop, write_note

OTHERS = [alias for alias in connections if alias != "default"]
JOBS = "default"

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.skipif(not OTHERS, reason="needs a second database"),
]


class Undo(Exception):
    """Rolls a block back."""


@pytest.fixture
def other() -> str:
    return OTHERS[0]


@pytest.fixture
def app(transactional_db: None) -> Iterator[Soniq]:
    with default_app(Soniq(backend=DjangoBackend(JOBS), environment=DjangoEnvironment())) as app:
        yield app


def stored() -> list[str]:
    return [str(pk) for pk in Job.objects.using(JOBS).order_by("pk").values_list("pk", flat=True)]


def test_a_job_is_written_when_the_other_database_commits(app: Soniq, other: str) -> None:
    """Its id is known at once; nobody can claim it before its data is there."""
    with transaction.atomic(using=other):
        job_id = noop.enqueue()
        assert stored() == []

    assert stored() == [job_id]


def test_a_rolled_back_block_leaves_no_job(app: Soniq, other: str) -> None:
    """Nor does a savepoint."""
    with pytest.raises(Undo), transaction.atomic(using=other):
        noop.enqueue()
        raise Undo
    with transaction.atomic(using=other):
        with pytest.raises(Undo), transaction.atomic(using=other):
            noop.enqueue()
            raise Undo
        kept = noop.enqueue()

    assert stored() == [kept]


def test_many_jobs_wait_together(app: Soniq, other: str) -> None:
    """enqueue_many() gives all ids at once, from a generator as well."""
    with transaction.atomic(using=other):
        ids = noop.enqueue_many({} for _ in range(3))
        assert stored() == []

    assert stored() == ids


@pytest.mark.parametrize(
    ("options", "error"),
    [({"queue": "Not A Queue!"}, InvalidEnqueue), ({"dedup_key": "k"}, InvalidArguments)],
)
def test_errors_are_raised_at_once(app: Soniq, other: str, options, error) -> None:
    """Not at the commit, which nobody expects to be refused."""
    with transaction.atomic(using=other), pytest.raises(error):
        noop.using(**options).enqueue(unknown=1) if error is InvalidArguments else noop.using(
            **options
        ).enqueue()

    assert stored() == []


def test_one_wrong_job_of_many_keeps_all_out(app: Soniq, other: str) -> None:
    """Also when the block goes on."""
    with transaction.atomic(using=other):
        with pytest.raises(InvalidArguments):
            write_note.enqueue_many([{"text": "fine"}, {"wrong": 1}])
        Note.objects.using(other).create(text="goes on")

    assert stored() == []


def test_a_transaction_of_the_jobs_database_is_joined(app: Soniq, other: str) -> None:
    """Whatever else is open: there the job belongs to what is written beside it."""
    with transaction.atomic(using=other), transaction.atomic(using=JOBS):
        job_id = noop.enqueue()
        assert stored() == [job_id]

    with pytest.raises(Undo), transaction.atomic(using=JOBS):
        noop.enqueue()
        raise Undo

    assert stored() == [job_id]


def test_async_code_below_a_block_waits_for_it_too(app: Soniq, other: str) -> None:
    """aenqueue() looks at the thread of the block."""
    with transaction.atomic(using=other):
        job_id = async_to_sync(noop.aenqueue)()
        assert stored() == []

    assert stored() == [job_id]


@pytest.mark.skipif(len(OTHERS) < 2, reason="needs a third database")
@pytest.mark.parametrize("fails", [None, "inner", "outer"])
def test_of_several_open_transactions_all_must_commit(app: Soniq, fails: str | None) -> None:
    """The last one writes the job; one that rolls back takes it along."""
    outer, inner = OTHERS[:2]
    with transaction.atomic(using=outer):
        with transaction.atomic(using=inner):
            noop.enqueue()
            transaction.set_rollback(fails == "inner", using=inner)
        assert stored() == []
        transaction.set_rollback(fails == "outer", using=outer)

    assert len(stored()) == (fails is None)


def test_a_held_key_is_found_when_the_job_is_written(app: Soniq, other: str, caplog) -> None:
    """Until then nobody knows of it: the id is that of a job that never comes to be, and the log says so."""
    holder = noop.using(unique=True).enqueue()
    with caplog.at_level(logging.INFO, "soniq.enqueue"), transaction.atomic(using=other):
        job_id = noop.using(unique=True).enqueue()

    assert job_id != holder
    assert stored() == [holder]
    assert f"{job_id} was not stored" in caplog.text
    assert holder in caplog.text


def test_jobs_that_cannot_be_written_any_more_are_named(app: Soniq, other: str, caplog, monkeypatch) -> None:
    """Their data is committed: whoever reads the log can enqueue them again."""

    def away(jobs):
        raise BackendUnavailable("default: away")

    backend = app.backend
    monkeypatch.setattr(backend, "_enqueue", away)
    with pytest.raises(BackendUnavailable), transaction.atomic(using=other):
        Note.objects.using(other).create(text="kept")
        job_id = noop.enqueue()

    assert Note.objects.using(other).count() == 1
    assert f"yard.noop {job_id}" in caplog.text


class InATestCase(TestCase):
    """TestCase opens a transaction on every database, which never commits."""

    databases = "__all__"

    def setUp(self) -> None:
        app = Soniq(backend=DjangoBackend(JOBS), environment=DjangoEnvironment())
        self.enterContext(default_app(app))

    def test_an_enqueue_is_seen_at_once(self) -> None:
        """It joins the test's own transaction of the jobs' database."""
        with transaction.atomic(using=OTHERS[0]):
            job_id = noop.enqueue()

        assert stored() == [job_id]


@pytest.mark.django_db(transaction=False, databases=[OTHERS[0]] if OTHERS else [])
def test_a_test_without_the_jobs_database_is_told_so(monkeypatch) -> None:
    """The transaction of a test never commits, so nothing waits for it: the missing database is the error."""
    app = Soniq(backend=DjangoBackend(JOBS), environment=DjangoEnvironment())
    with default_app(app), pytest.raises(AssertionError, match="to 'default' are not allowed"):
        noop.enqueue()
