"""What tests of tasks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from soniq import Soniq
from tests.support.task_api import task_enqueued, task_finished, task_started
from tests.support.vendors import FIRST_QUICKLY


@pytest.fixture(params=FIRST_QUICKLY)
def alias(request: pytest.FixtureRequest) -> str:
    """Tasks are jobs, which the tests of jobs look at on every database; here the quick ones look at one."""
    return request.param


@pytest.fixture
def work(app: Soniq) -> Callable[..., bool]:
    """Run everything that is due, each task once."""

    def run(**options: Any) -> bool:
        return async_to_sync(app.run_worker)(run_once=True, **options)

    return run


@contextmanager
def heard(*signals: Any) -> Iterator[list[tuple[str, Any, Any]]]:
    """What the signals of tasks said, in order: (signal, sender, status)."""
    names = {task_enqueued: "enqueued", task_started: "started", task_finished: "finished"}
    said: list[tuple[str, Any, Any]] = []
    receivers = []
    for signal in signals or names:

        def receive(sender: Any, task_result: Any, signal: Any, **_: Any) -> None:
            said.append((names[signal], sender, str(task_result.status)))

        signal.connect(receive)
        receivers.append((signal, receive))
    try:
        yield said
    finally:
        for signal, receive in receivers:
            signal.disconnect(receive)
