"""What a result is put together from: the row of its job, and what the code says today."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from soniq import DeadLetterReason, Soniq, transitions
from tests.shop import tasks
from tests.support.task_api import default_task_backend, task_backends, task_finished

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_a_task_that_nothing_was_changed_of_is_that_of_the_code(work: Callable[..., bool]) -> None:
    result = tasks.total.enqueue(1)
    variant = tasks.total.using(priority=7).enqueue(1)

    assert default_task_backend.get_result(result.id).task is tasks.total
    assert default_task_backend.get_result(variant.id).task is not tasks.total


def test_a_result_names_the_backend_that_enqueued_and_its_task_the_one_it_was_declared_for(
    work: Callable[..., bool],
) -> None:
    told = []

    def note(task_result: Any, **_: Any) -> None:
        told.append((task_result.backend, task_result.task.backend))

    result = task_backends["slow"].enqueue(tasks.total, [1], {})
    found = default_task_backend.get_result(result.id)
    task_finished.connect(note)
    try:
        work()
    finally:
        task_finished.disconnect(note)

    assert found == result
    assert [(found.backend, found.task.backend), *told] == [("slow", "default")] * 2


def test_a_task_whose_code_nobody_has_any_more_has_failed_to_be_imported(
    work: Callable[..., bool], app: Soniq
) -> None:
    """That is an error of its own, after those of attempts that were made while the code was there."""
    tried, untried = tasks.flaky.enqueue("again"), tasks.total.using(queue_name="emails").enqueue(1)
    work(queues=["default"])
    reason = DeadLetterReason.JOB_NOT_FOUND

    for result in (tried, untried):
        change = transitions.bury_waiting(result.id, reason=reason, error="no worker knew it", overdue=0)
        assert app.backend.apply([change]) == [True]
        result.refresh()

    assert [str(result.status) for result in (tried, untried)] == ["FAILED", "FAILED"]
    assert [(result.attempts, len(result.errors)) for result in (tried, untried)] == [(1, 2), (0, 1)]
    assert tried.errors[0].exception_class is LookupError
    assert tried.errors[0].traceback.endswith("LookupError: again\n")
    assert tried.errors[1] == untried.errors[0]
    assert untried.errors[0].exception_class is ImportError
    assert untried.errors[0].traceback == "ImportError: no worker knew it\n"
