"""Handlers of operating-system signals that enqueue while the program is using the same connection."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.utils import ConnectionHandler

from soniq import InvalidEnqueue, Soniq
from soniq_django import mid_use
from soniq_django.hints import HintSender
from tests.shop.models import Note
from tests.support.docs import ROOT
from tests.support.vendors import POSTGRES
from tests.yard.jobs import noop

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

Answers = list[str | InvalidEnqueue]


class Undo(Exception):
    """Rolls a block back."""


@pytest.fixture
def answers(app: Soniq, alias: str) -> Iterator[Answers]:
    """What the enqueues of a handler of SIGUSR1 came to."""
    got: Answers = []

    def handle(_number: int, _frame: object) -> None:
        try:
            got.append(noop.enqueue())
        except InvalidEnqueue as error:
            got.append(error)

    connections[alias].ensure_connection()
    previous = signal.signal(signal.SIGUSR1, handle)
    yield got
    signal.signal(signal.SIGUSR1, previous)


def interrupted_after(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes when ``owner`` has done this, once."""
    method = getattr(owner, name)

    def then_interrupted(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        try:
            return method(*args, **kwargs)
        finally:
            signal.raise_signal(signal.SIGUSR1)

    monkeypatch.setattr(owner, name, then_interrupted)


def test_a_handler_between_two_statements_enqueues(answers: Answers, app: Soniq, alias: str) -> None:
    """Its job is part of the block that is open there."""
    signal.raise_signal(signal.SIGUSR1)
    with transaction.atomic(using=alias):
        signal.raise_signal(signal.SIGUSR1)
    with suppress(Undo), transaction.atomic(using=alias):
        signal.raise_signal(signal.SIGUSR1)
        raise Undo

    stored = [app.backend.get_job(str(answer)) is not None for answer in answers]
    assert stored == [True, True, False]


def test_a_handler_in_a_statement_is_refused(
    answers: Answers, app: Soniq, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg would wait for itself for ever, and drivers of MariaDB take each other's answers."""
    connection = connections[alias]
    if connection.vendor == "sqlite":
        pytest.skip("sqlite: no signal is handled in the middle of a statement")
    if connection.vendor == "postgresql":
        interrupted_after(connection.connection, "wait", monkeypatch)
    else:
        interrupted_after(connection.connection, "_execute_command", monkeypatch)

    assert Note.objects.using(alias).count() == 0
    assert "interrupts a statement" in str(answers[0])
    assert app.backend.queue_stats()["total"] == 0


@pytest.mark.parametrize("method", ["_set_autocommit", "_start_transaction_under_autocommit"])
def test_a_handler_at_the_beginning_of_a_block_is_refused(
    answers: Answers, app: Soniq, alias: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block is still one: a rollback undoes all of it, and leaves the connection as it was."""
    connection = connections[alias]
    if (connection.vendor == "sqlite") != (method == "_start_transaction_under_autocommit"):
        pytest.skip(f"{connection.vendor}: begins a block in another way")
    interrupted_after(connection, method, monkeypatch)

    with suppress(Undo), transaction.atomic(using=alias):
        Note.objects.using(alias).create(text="never")
        raise Undo

    assert "begin or end of a transaction" in str(answers[0])
    assert not Note.objects.using(alias).exists()
    assert app.backend.queue_stats()["total"] == 0
    assert connection.get_autocommit()


@pytest.mark.parametrize("method", ["_commit", "_set_autocommit"])
def test_a_handler_at_the_end_of_a_block_is_refused(
    answers: Answers, app: Soniq, alias: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block is committed, its callbacks run, and the connection goes on in autocommit."""
    connection, called = connections[alias], []
    with transaction.atomic(using=alias):
        Note.objects.using(alias).create(text="kept")
        transaction.on_commit(lambda: called.append(True), using=alias)
        interrupted_after(connection, method, monkeypatch)

    assert "begin or end of a transaction" in str(answers[0])
    assert Note.objects.using(alias).count() == 1
    assert called == [True]
    assert app.backend.queue_stats()["total"] == 0
    assert connection.get_autocommit()


def test_callbacks_of_a_commit_enqueue(app: Soniq, alias: str) -> None:
    """Django calls them from the end of the block, but that is over by then."""
    with transaction.atomic(using=alias):
        transaction.on_commit(lambda: ids.append(noop.enqueue()), using=alias)
        ids: list[str] = []

    assert app.backend.get_job(ids[0]) is not None


def test_a_transaction_by_hand_takes_jobs(app: Soniq, alias: str) -> None:
    """Nothing tells it from the beginning of a block but who called."""
    transaction.set_autocommit(False, using=alias)
    try:
        noop.enqueue()
        transaction.rollback(using=alias)
        kept = noop.enqueue()
        transaction.commit(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)

    assert app.backend.queue_stats()["total"] == 1
    assert app.backend.get_job(kept) is not None


def test_a_thread_that_a_handler_starts_enqueues_whatever_it_interrupts(
    app: Soniq, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a connection of its own, so its job does not depend on the block either."""
    ids: list[str] = []

    def enqueue() -> None:
        try:
            ids.append(noop.enqueue())
        finally:
            connections.close_all()

    thread = threading.Thread(target=enqueue)
    previous = signal.signal(signal.SIGUSR1, lambda _number, _frame: thread.start())
    try:
        with suppress(Undo), transaction.atomic(using=alias):
            interrupted_after(connections[alias], "_rollback", monkeypatch)
            raise Undo
        thread.join(60)
    finally:
        signal.signal(signal.SIGUSR1, previous)

    assert [app.backend.get_job(job_id) is not None for job_id in ids] == [True]


def test_the_first_enqueue_imports_nothing() -> None:
    """A handler that came in the middle of the import would find half a module."""
    if POSTGRES[0].marks:
        pytest.skip(POSTGRES[0].marks[0].kwargs["reason"])
    program = "import sys, django; django.setup(); print('soniq_django.store.postgres' in sys.modules)"
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


def test_a_database_without_a_driver_is_told_to_whoever_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to each command, of which some need none."""
    lacking = {"default": {"ENGINE": "no.such.engine"}}
    monkeypatch.setattr(mid_use, "connections", ConnectionHandler(lacking))
    mid_use.load_early()
    with pytest.raises(ImproperlyConfigured):
        mid_use.connections.all()


@pytest.mark.timeout(20)
def test_a_handler_that_interrupts_a_hint_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints of both are sent; the one does not wait for the other."""
    told: list[str] = []
    interrupted = False

    def clock() -> float:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            sender.send(["handler"])  # as if a handler had come here
        return 100.0

    sender = HintSender("default", clock)
    monkeypatch.setattr(sender, "_notify", told.extend)
    sender.send(["program"])

    assert sorted(told) == ["handler", "program"]
