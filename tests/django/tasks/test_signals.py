"""When task_enqueued, task_started and task_finished are sent, and what receivers see."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from soniq import Soniq
from soniq_django.tasks import SoniqBackend
from tests.django.tasks.conftest import heard
from tests.shop import tasks
from tests.shop.models import Note
from tests.support.task_api import LOGGER, task_finished, task_started

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def receivers() -> Any:
    """Connect receivers for the time of a test."""
    connected = []

    def connect(signal: Any, receiver: Any) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.mark.parametrize("declared", [tasks.total, tasks.atotal], ids=["sync", "async"])
def test_a_success_is_started_and_finished(work: Callable[..., bool], declared: Any) -> None:
    with heard() as said:
        declared.enqueue(1)
        work()

    assert said == [
        ("enqueued", SoniqBackend, "READY"),
        ("started", SoniqBackend, "RUNNING"),
        ("finished", SoniqBackend, "SUCCESSFUL"),
    ]


@pytest.mark.parametrize("declared", [tasks.refuse, tasks.arefuse], ids=["sync", "async"])
def test_a_failure_is_told_while_its_exception_is_handled(
    work: Callable[..., bool], receivers: Any, declared: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Error monitors ask ``sys.exc_info()``; Django's own log line does."""
    seen: list[Any] = []
    receivers(
        task_finished, lambda task_result, **_: seen.append((sys.exc_info()[0], len(task_result.errors)))
    )

    declared.enqueue("no")
    work()

    assert seen == [(ValueError, 1)]
    [record] = [r for r in caplog.records if r.name == LOGGER and r.levelname == "ERROR"]
    assert "state=FAILED" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


def test_only_the_last_failure_is_the_end(work: Callable[..., bool]) -> None:
    """Every attempt starts; the task finishes once."""
    with heard(task_started, task_finished) as said:
        tasks.flaky.using(retry_delay=0).enqueue()
        for _ in range(3):
            work()

    assert [word for word, _, _ in said] == ["started", "started", "started", "finished"]
    assert said[-1][2] == "FAILED"


@pytest.mark.parametrize("declared", [tasks.total, tasks.atotal], ids=["sync", "async"])
@pytest.mark.parametrize("signal", [task_started, task_finished], ids=["started", "finished"])
def test_a_receiver_that_raises_changes_nothing(
    work: Callable[..., bool], receivers: Any, declared: Any, signal: Any
) -> None:
    def broken(**_: Any) -> None:
        raise ZeroDivisionError

    heard_too: list[Any] = []
    receivers(signal, broken)
    receivers(signal, lambda task_result, **_: heard_too.append(task_result.id))
    result = declared.enqueue(1)

    work()

    result.refresh()
    assert (result.status, result.return_value, result.attempts) == ("SUCCESSFUL", 1, 1)
    assert heard_too == [result.id]


@pytest.mark.parametrize("declared", [tasks.total, tasks.atotal], ids=["sync", "async"])
def test_receivers_may_use_the_orm(
    work: Callable[..., bool], receivers: Any, alias: str, declared: Any
) -> None:
    """They run where the task's sync code runs, also those of an async task; so may async ones."""

    def note(task_result: Any, **_: Any) -> None:
        Note.objects.using(alias).create(text=f"sync {task_result.status}")

    async def anote(task_result: Any, **_: Any) -> None:
        await Note.objects.using(alias).acreate(text=f"async {task_result.status}")

    for signal in (task_started, task_finished):
        receivers(signal, note)
        receivers(signal, anote)
    declared.enqueue(1)

    work()

    assert sorted(Note.objects.using(alias).values_list("text", flat=True)) == [
        "async RUNNING",
        "async SUCCESSFUL",
        "sync RUNNING",
        "sync SUCCESSFUL",
    ]
    assert not connections[alias].in_atomic_block


def test_the_result_that_receivers_see_is_whole(
    work: Callable[..., bool], receivers: Any, app: Soniq
) -> None:
    seen: list[Any] = []
    receivers(task_finished, lambda task_result, **_: seen.append(task_result))
    result = tasks.order.enqueue(4, express=True)

    work()

    result.refresh()
    [told] = seen
    assert (told.id, told.task, told.args, told.kwargs) == (result.id, result.task, [4], {"express": True})
    assert (told.worker_ids, told.return_value, told.errors) == (result.worker_ids, [4, True], [])
    assert told.started_at <= told.finished_at
