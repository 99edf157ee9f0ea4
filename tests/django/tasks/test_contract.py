"""The contract of Django's Tasks: what every backend's results say."""

from __future__ import annotations

import copy
import pickle
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, transaction
from django.utils import timezone

from soniq import Soniq
from soniq.jobs import ClaimRequest
from soniq_django.tasks import JobCancelled, SoniqBackend, SoniqTask
from tests.django.tasks.conftest import heard
from tests.shop import tasks
from tests.support.task_api import (
    InvalidTask,
    Task,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    default_task_backend,
    task,
    task_backends,
)

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

READY, RUNNING = TaskResultStatus.READY, TaskResultStatus.RUNNING
FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


def test_the_backend_can_do_everything_that_the_contract_has_a_flag_for() -> None:
    backend = task_backends["default"]

    assert isinstance(backend, SoniqBackend)
    assert default_task_backend == backend
    assert (backend.alias, backend.options) == ("default", {})
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority


def test_tasks_are_of_our_class_and_of_djangos() -> None:
    assert type(tasks.total) is SoniqTask
    assert isinstance(tasks.total, Task)
    assert tasks.total.name == "total"
    assert tasks.total.module_path == "tests.shop.tasks.total"


@pytest.mark.parametrize("declared", [tasks.total, tasks.atotal], ids=["sync", "async"])
def test_an_enqueued_task_is_ready_and_was_never_tried(app: Soniq, declared: Any) -> None:
    result = declared.enqueue(1, factor=3)

    assert uuid.UUID(result.id)
    assert (result.status, result.is_finished, result.attempts) == (READY, False, 0)
    assert (result.started_at, result.last_attempted_at, result.finished_at) == (None, None, None)
    assert timedelta(0) <= timezone.now() - result.enqueued_at < timedelta(seconds=5)
    assert (result.args, result.kwargs, result.backend) == ([1], {"factor": 3}, "default")
    assert result.task == declared
    assert (result.errors, result.worker_ids) == ([], [])
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = result.return_value


def test_get_result_says_what_enqueue_said(app: Soniq) -> None:
    plain = tasks.total.enqueue(1)
    later = tasks.total.using(
        priority=7,
        queue_name="emails",
        run_after=timezone.now() + timedelta(hours=1),
        max_retries=9,
        retry_delay=[1, 2],
        timeout=5,
        dedup_key="x",
    ).enqueue(2, factor=3)

    assert default_task_backend.get_result(plain.id) == plain
    assert default_task_backend.get_result(later.id) == later
    assert tasks.total.get_result(later.id).task.timeout == 5


async def test_the_async_twins_do_the_same(app: Soniq) -> None:
    result = await tasks.atotal.aenqueue(2, 3)

    assert await default_task_backend.aget_result(result.id) == result
    assert await tasks.atotal.aget_result(result.id) == result
    await app.run_worker(run_once=True)
    await result.arefresh()
    assert (result.status, result.return_value) == (SUCCESSFUL, 5)


@pytest.mark.parametrize("kind", ["SoniqBackend", "ImmediateBackend", "DummyBackend"])
async def test_a_backend_enqueues_without_arguments_where_there_are_none(
    app: Soniq, settings: Any, kind: str
) -> None:
    settings.TASKS = {"default": {"BACKEND": f"soniq_django.tasks.{kind}"}}
    backend = task_backends["default"]

    results = [
        await sync_to_async(backend.enqueue)(tasks.total),
        await backend.aenqueue(tasks.total),
        await backend.aenqueue(tasks.total, args=[1]),
        await backend.aenqueue(tasks.order, kwargs={"number": 1}),
    ]

    assert [(result.args, result.kwargs) for result in results] == [
        ([], {}),
        ([], {}),
        ([1], {}),
        ([], {"number": 1}),
    ]


@pytest.mark.parametrize("declared", [tasks.total, tasks.atotal], ids=["sync", "async"])
def test_a_task_that_ran_is_successful(work: Callable[..., bool], declared: Any) -> None:
    result = declared.enqueue(1, 2, factor=3)

    assert work() is True

    assert result.status == READY
    result.refresh()
    assert (result.status, result.is_finished, result.return_value) == (SUCCESSFUL, True, 9)
    assert result.attempts == len(result.worker_ids) == 1
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at


@pytest.mark.parametrize("declared", [tasks.refuse, tasks.arefuse], ids=["sync", "async"])
def test_a_task_that_raised_has_failed_with_its_error(work: Callable[..., bool], declared: Any) -> None:
    result = declared.enqueue("so not")

    work()

    result.refresh()
    assert (result.status, result.is_finished, result.attempts) == (FAILED, True, 1)
    assert result.enqueued_at <= result.started_at <= result.finished_at
    [error] = result.errors
    assert error.exception_class is ValueError
    assert error.traceback.startswith("Traceback (most recent call last):")
    assert error.traceback.endswith("ValueError: so not\n")
    assert "soniq" not in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_task_cannot_end_its_worker(work: Callable[..., bool], kind: type[BaseException]) -> None:
    result = tasks.leave.enqueue(kind.__name__)
    after = tasks.total.enqueue(1)

    work()

    result.refresh()
    after.refresh()
    assert (result.status, after.status) == (FAILED, SUCCESSFUL)
    assert result.errors[0].exception_class is kind


def test_a_result_that_cannot_be_stored_fails_the_task_at_once(work: Callable[..., bool]) -> None:
    """Its work was done: doing it again would do it twice, and the value would be no better."""
    result = tasks.unstorable.enqueue()

    work()

    result.refresh()
    assert (result.status, result.attempts, result._return_value) == (FAILED, 1, None)
    assert result.errors[0].exception_class is TypeError
    assert "Unsupported type" in result.errors[0].traceback
    assert "is not JSON serializable" in result.errors[0].traceback


@pytest.mark.parametrize(
    "value", [None, 0, False, "", [], {}, {"nested": [1, 2.5, {"a": None, "b": "ünïçødé"}]}]
)
def test_values_come_back_as_they_went(work: Callable[..., bool], value: Any) -> None:
    result = tasks.echo.enqueue(value)

    work()

    result.refresh()
    assert result.args == [value]
    assert (result.status, result.return_value) == (SUCCESSFUL, value)


def test_a_retry_keeps_the_id_and_is_ready_again(work: Callable[..., bool]) -> None:
    """One worker and one error for each attempt; it fails when there is none left."""
    result = tasks.flaky.using(retry_delay=0).enqueue("again")

    seen = []
    for _ in range(3):
        work()
        result.refresh()
        seen.append((result.status, result.attempts, len(result.errors)))

    assert seen == [(READY, 1, 1), (READY, 2, 2), (FAILED, 3, 3)]
    assert len(set(result.worker_ids)) == 3
    assert {error.exception_class for error in result.errors} == {LookupError}
    assert result.started_at < result.last_attempted_at < result.finished_at


def test_a_failure_that_will_be_retried_waits_for_its_delay(work: Callable[..., bool], app: Soniq) -> None:
    """The declared delays hold: none before the second attempt, a minute before the third."""
    result = tasks.flaky.enqueue()

    work()
    work()

    assert app.backend.next_due() == pytest.approx(60, abs=10)
    result.refresh()
    assert (result.status, result.attempts) == (READY, 2)


def test_a_cancelled_task_has_failed_and_says_so(app: Soniq) -> None:
    result = tasks.total.enqueue(1)

    assert async_to_sync(app.cancel_job)(result.id)

    result.refresh()
    assert (result.status, result.attempts) == (FAILED, 0)
    assert result.errors[0].exception_class is JobCancelled


def test_a_running_task_says_who_runs_it(app: Soniq) -> None:
    worker = str(uuid.uuid4())
    result = tasks.total.enqueue(1)

    app.backend.claim(ClaimRequest(worker_id=worker, limit=1))

    result.refresh()
    assert (result.status, result.worker_ids, result.attempts) == (RUNNING, [worker], 1)
    assert result.started_at == result.last_attempted_at is not None
    assert result.finished_at is None


def test_tasks_start_by_priority_the_highest_first(work: Callable[..., bool], app: Soniq, alias: str) -> None:
    from tests.shop.models import Note

    for priority in (0, 100, -100, 10, 2):
        tasks.write_note.using(priority=priority).enqueue(str(priority), alias)

    work()

    texts = [note.text for note in Note.objects.using(alias).order_by("pk")]
    assert texts == ["100", "10", "2", "0", "-100"]


def test_priorities_are_those_of_soniq_turned_round(app: Soniq) -> None:
    stored = [
        app.backend.get_job(tasks.total.using(priority=p).enqueue(1).id).priority for p in (100, 0, -100)
    ]

    assert stored == [0, 100, 200]


def test_a_task_waits_for_run_after(work: Callable[..., bool]) -> None:
    later = tasks.total.using(run_after=timezone.now() + timedelta(hours=10)).enqueue(1)
    due = tasks.total.using(run_after=timezone.now() - timedelta(hours=10)).enqueue(2)

    work()

    later.refresh()
    due.refresh()
    assert (later.status, due.status) == (READY, SUCCESSFUL)


def test_a_worker_leaves_other_queues_alone(work: Callable[..., bool]) -> None:
    result = tasks.total.using(queue_name="emails").enqueue(1)

    assert work(queues=["default"]) is False
    assert work(queues=["emails"]) is True

    result.refresh()
    assert result.status == SUCCESSFUL


def test_a_task_may_take_its_context(work: Callable[..., bool]) -> None:
    result = tasks.about_me.enqueue()
    other = tasks.aabout_me.enqueue(word="hello")

    work()

    result.refresh()
    other.refresh()
    assert result.return_value == [result.id, 1, "RUNNING", result.worker_ids, []]
    assert other.return_value == [other.id, 1, "hello"]


def test_the_context_of_a_retry_knows_the_attempts_before(work: Callable[..., bool]) -> None:
    result = tasks.about_me.enqueue(fail_first=True)

    work()
    work()

    result.refresh()
    _, attempt, _, workers, [error] = result.return_value
    assert (attempt, workers) == (2, result.worker_ids)
    assert error.endswith("ValueError: first\n")


def test_an_enqueue_belongs_to_the_callers_transaction(app: Soniq, alias: str) -> None:
    with transaction.atomic(using=alias):
        kept = tasks.total.enqueue(1)
        assert kept.enqueued_at is not None
        if alias != "default" or connections[alias].vendor != "sqlite":
            assert _count_elsewhere(alias) == 0
    with pytest.raises(InterruptedError), transaction.atomic(using=alias):
        lost = tasks.total.enqueue(2)
        raise InterruptedError

    assert _count_elsewhere(alias) == 1
    assert default_task_backend.get_result(kept.id) == kept
    with pytest.raises(TaskResultDoesNotExist):
        lost.refresh()


def _count_elsewhere(alias: str) -> int:
    other = connections.create_connection(alias)
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM soniq_jobs")
            return int(cursor.fetchone()[0])
    finally:
        other.close()


def test_storing_and_reading_take_one_statement_each(
    app: Soniq, alias: str, django_assert_num_queries: Any
) -> None:
    using = connections[alias]

    with django_assert_num_queries(1, connection=using):
        result = tasks.total.enqueue(1)
    with django_assert_num_queries(1, connection=using):
        result.refresh()


@pytest.mark.parametrize("missing", ["123", "", "0f0e8a64-5c2c-4f5e-9a51-0f1f5b4a1c11", 123])
def test_what_is_not_there_does_not_exist(app: Soniq, missing: Any) -> None:
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(missing)
    with pytest.raises(TaskResultDoesNotExist):
        async_to_sync(default_task_backend.aget_result)(missing)


def test_the_result_of_another_task_is_a_mismatch(app: Soniq) -> None:
    result = tasks.atotal.enqueue(1)

    with pytest.raises(TaskResultMismatch, match="Task does not match"):
        tasks.total.get_result(result.id)


def test_a_job_that_is_no_task_is_no_result(app: Soniq) -> None:
    from tests.shop.jobs import send_receipt

    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(send_receipt.enqueue(order_id=1))


def test_tasks_and_results_can_be_pickled_and_copied(app: Soniq) -> None:
    result = tasks.total.using(priority=3, timeout=2).enqueue(1)

    assert pickle.loads(pickle.dumps(tasks.total)) == tasks.total
    assert pickle.loads(pickle.dumps(result)) == result
    assert copy.deepcopy(result) == result


def test_a_task_is_called_like_its_function() -> None:
    assert tasks.total.call(1, 2, factor=2) == 6
    assert tasks.atotal.call(1, 2) == 3


def test_enqueue_is_told_and_logged_once(app: Soniq, caplog: pytest.LogCaptureFixture) -> None:
    from tests.support.task_api import LOGGER

    caplog.set_level("DEBUG", logger=LOGGER)
    with heard() as said:
        result = tasks.total.enqueue(1)

    assert said == [("enqueued", SoniqBackend, "READY")]
    [line] = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert "enqueued" in line
    assert result.id in line


def test_the_queue_is_checked_when_a_task_is_made_and_when_it_is_enqueued(app: Soniq, settings: Any) -> None:
    with pytest.raises(InvalidTask, match="Queue 'nowhere' is not valid for backend"):
        tasks.total.using(queue_name="nowhere")
    emails = tasks.total.using(queue_name="emails")

    settings.TASKS = {"default": {"BACKEND": "soniq_django.tasks.SoniqBackend"}}

    with pytest.raises(InvalidTask, match="Queue 'emails' is not valid for backend"):
        emails.enqueue()
    with pytest.raises(InvalidTask, match="Queue 'emails' is not valid for backend"):
        async_to_sync(emails.aenqueue)()


def test_functions_that_workers_could_not_find_are_refused(app: Soniq) -> None:
    def local() -> None: ...

    with pytest.raises(InvalidTask, match="must be defined at a module level"):
        task(local)
    with pytest.raises(InvalidTask, match="must be importable by its name"):
        tasks.nameless.enqueue()
    with pytest.raises(InvalidTask, match="does not have a first argument of 'context'"):
        task(takes_context=True)(tasks.total.func)
    with pytest.raises(TypeError, match="max_retires"):
        task(max_retires=3)(tasks.total.func)
    with pytest.raises(InvalidTask, match="run_after must be an aware datetime"):
        tasks.total.using(run_after=timezone.now().replace(tzinfo=None))
    with pytest.raises(InvalidTask, match="priority must be a whole number between -100 and 100"):
        tasks.total.using(priority=101)
