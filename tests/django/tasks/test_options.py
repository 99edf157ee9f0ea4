"""What our tasks have besides Django's: retries, timeouts, uniqueness."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from soniq import ConfigurationError, Soniq
from soniq_django.tasks import UnsupportedArguments
from tests.shop import tasks
from tests.support.task_api import (
    InvalidTask,
    TaskResultStatus,
    default_task_backend,
    task,
    task_backends,
)

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_options_of_the_decorator_are_those_of_the_job(app: Soniq) -> None:
    job = app.backend.get_job(tasks.flaky.enqueue().id)

    assert job is not None
    assert (job.max_attempts, job.queue, job.job_name) == (3, "default", "tests.shop.tasks.flaky")


def test_using_takes_our_options_and_djangos(app: Soniq) -> None:
    variant = tasks.flaky.using(max_retries=7).using(priority=5, queue_name="emails")

    job = app.backend.get_job(variant.enqueue().id)

    assert job is not None
    assert (job.max_attempts, job.priority, job.queue) == (8, 95, "emails")
    assert (tasks.flaky.max_retries, tasks.flaky.priority) == (2, 0)
    assert variant == tasks.flaky.using(max_retries=7, priority=5, queue_name="emails")


def test_run_after_takes_a_timedelta_from_the_time_of_using(work: Callable[..., bool], app: Soniq) -> None:
    before = timezone.now()
    variant = tasks.total.using(run_after=timedelta(hours=2))
    after = timezone.now()

    result = variant.enqueue(1)

    assert before <= variant.run_after - timedelta(hours=2) <= after
    job = app.backend.get_job(result.id)
    assert job is not None
    assert job.scheduled_at == variant.run_after
    assert result.task.run_after == variant.run_after
    work()
    result.refresh()
    assert result.status == TaskResultStatus.READY


def test_a_timedelta_of_the_past_is_due_at_once(work: Callable[..., bool]) -> None:
    result = tasks.total.using(run_after=timedelta(hours=-1)).enqueue(1)

    work()

    result.refresh()
    assert result.return_value == 1


@pytest.mark.parametrize("use_tz", [True, False])
def test_a_timedelta_is_right_with_and_without_time_zones(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz

    variant = tasks.total.using(run_after=timedelta(hours=2))

    assert (variant.run_after.utcoffset() is not None) is use_tz


def test_what_using_changed_holds_in_the_worker(work: Callable[..., bool], app: Soniq) -> None:
    """A delay is asked for when the attempt fails, by a process that has only the row."""
    tasks.flaky.using(retry_delay=3600).enqueue()

    work()

    assert app.backend.next_due() == pytest.approx(3600, abs=10)


def test_a_timeout_ends_in_failure(work: Callable[..., bool]) -> None:
    result = tasks.overrun.enqueue()
    relaxed = tasks.overrun.using(timeout=30).enqueue()

    work()

    result.refresh()
    relaxed.refresh()
    assert (result.status, relaxed.status) == (TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL)
    assert result.errors[0].exception_class_path == "soniq.errors.JobTimeout"


def test_options_of_the_backend_are_defaults(app: Soniq) -> None:
    assert app.backend.get_job(tasks.slow.enqueue().id).max_attempts == 2
    assert app.backend.get_job(tasks.slow.using(max_retries=5).enqueue().id).max_attempts == 6
    assert app.backend.get_job(tasks.total.using(backend="slow").enqueue(1).id).max_attempts == 2
    assert app.backend.get_job(tasks.total.enqueue(1).id).max_attempts == app.settings.max_retries + 1


@pytest.mark.parametrize(
    "function", ["uuid.uuid4", uuid4, lambda: str(uuid4())], ids=["path", "function", "text"]
)
def test_id_function_makes_the_ids(work: Callable[..., bool], function: object, settings: Any) -> None:
    """The time of the enqueue, which such an id does not tell, is that of every later look all the same."""
    settings.TASKS = {"default": {**settings.TASKS["default"], "OPTIONS": {"id_function": function}}}

    result = tasks.total.enqueue(1)

    assert UUID(result.id).version == 4
    assert default_task_backend.check() == []
    assert default_task_backend.get_result(result.id) == result
    work()
    found = default_task_backend.get_result(result.id)
    assert (found.return_value, found.enqueued_at) == (1, result.enqueued_at)


@pytest.mark.parametrize(
    ("function", "error", "told"),
    [
        ("uuid.uuid", ImportError, "id_function is 'uuid.uuid'"),
        (7, ConfigurationError, "id_function is 7: give a function, or its path"),
        (dict, ImproperlyConfigured, "id_function returned {}; give one that returns a UUID"),
    ],
)
def test_what_makes_no_ids_stores_nothing(
    app: Soniq, function: object, error: type[Exception], told: str, settings: Any
) -> None:
    settings.TASKS = {"default": {**settings.TASKS["default"], "OPTIONS": {"id_function": function}}}

    with pytest.raises(error) as raised:
        tasks.total.enqueue(1)

    assert app.backend.count_due() == 0
    problems = "".join(problem.msg for problem in default_task_backend.check())
    assert told in problems or told in str(raised.value)


def test_results_show_arguments_as_every_backend_does(work: Callable[..., bool]) -> None:
    """A tuple as a list, bytes as a text; what Django's Tasks do not take as it is stored."""
    key = UUID(int=1)
    given = [(1, (2,)), b"x", 1e16, {1: (2,), "$a": [3]}, {"at": key}, b"\xff"]
    told = [[1, [2]], "x", 1e16, {1: [2], "$a": [3]}, {"at": {"$uuid": str(key)}}, {"$bytes": "/w=="}]
    result = tasks.take.enqueue(*given, more=(1, 2))

    assert (result.args, result.kwargs) == (told, {"more": [1, 2]})
    work()
    found = default_task_backend.get_result(result.id)
    assert (found.args, found.kwargs) == (result.args, result.kwargs)
    for name in ("immediate", "dummy"):
        elsewhere = tasks.take.using(backend=name).enqueue(*given, more=(1, 2))
        assert (elsewhere.args, elsewhere.kwargs) == (told, {"more": [1, 2]})


def test_one_function_may_be_a_task_of_several_backends(work: Callable[..., bool]) -> None:
    """Which of them it was enqueued through, its result says in any process."""
    here, there = tasks.total.enqueue(1), tasks.total.using(backend="slow", queue_name="night").enqueue(2)
    again = task(backend="slow")(tasks.total.func).enqueue(3)

    work()

    found = [task_backends["slow"].get_result(result.id) for result in (here, there, again)]
    assert [(one.backend, one.task.queue_name, one.return_value) for one in found] == [
        ("default", "default", 1),
        ("slow", "night", 2),
        ("slow", "default", 3),
    ]


def test_a_unique_task_is_stored_once_while_it_waits(work: Callable[..., bool]) -> None:
    """The second call gets the result of the first."""
    first = tasks.rebuild.enqueue("books")
    second = tasks.rebuild.enqueue("books")
    other = tasks.rebuild.enqueue("toys")

    assert first == second
    assert other.id != first.id
    work()
    assert tasks.rebuild.enqueue("books").id != first.id


def test_a_dedup_key_excludes_live_twins(app: Soniq) -> None:
    keyed = tasks.total.using(dedup_key="month-11")

    first, second, free = keyed.enqueue(1), keyed.enqueue(2), tasks.total.enqueue(2)

    assert first.id == second.id
    assert second.args == [1]
    assert free.id != first.id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": -1}, "max_retries is -1"),
        ({"retry_delay": "soon"}, "retry_delay is 'soon'"),
        ({"timeout": -5}, "timeout is -5"),
        ({"retry_backoff": True, "retry_delay": [1, 2]}, "retry_backoff doubles one retry_delay"),
        ({"missing": "ignore"}, "missing is 'ignore'"),
    ],
)
def test_impossible_options_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTask, match=message):
        tasks.total.using(**options)
    with pytest.raises(InvalidTask, match=message):
        task(**options)(tasks.total.func)


def test_using_says_which_option_it_does_not_take() -> None:
    with pytest.raises(TypeError, match=r"no option 'max_retires'; known: .*max_retries"):
        tasks.total.using(max_retires=3)
    with pytest.raises(TypeError, match="no option 'retry_on'; only @task takes it"):
        tasks.total.using(retry_on=ValueError)


def test_a_call_that_does_not_fit_the_function_is_refused(app: Soniq) -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'number'"):
        tasks.order.enqueue(express=True)
    with pytest.raises(TypeError, match="too many positional arguments"):
        tasks.order.enqueue(1, 2)
    with pytest.raises(TypeError, match=r"named '\*'"):
        tasks.total.enqueue(1, **{"*": 2})
    assert app.backend.queue_stats()["total"] == 0


def test_what_cannot_be_stored_is_a_type_error_that_names_the_place(app: Soniq) -> None:
    with pytest.raises(UnsupportedArguments, match=r"Unsupported type: args\.express"):
        tasks.order.enqueue(1, express=object())
    with pytest.raises(TypeError, match="Unsupported type: a naive datetime"):
        tasks.echo.enqueue([datetime(2026, 11, 22)])  # noqa: DTZ001  # the point
    assert app.backend.queue_stats()["total"] == 0


@pytest.mark.parametrize(
    "value",
    [
        UUID("0190d3c0-0000-7000-8000-000000000001"),
        Decimal("1.50"),
        date(2026, 11, 22),
        datetime(2026, 11, 22, 21, tzinfo=UTC),
        {1, 2},
        b"\x00\xff",
    ],
)
def test_arguments_may_be_more_than_json(work: Callable[..., bool], value: Any) -> None:
    """The function gets the value; the result shows what is stored of it, and returns the value."""
    result = tasks.echo.enqueue(value)

    work()

    result.refresh()
    assert result.return_value == value
    assert result.args[0] != value
    assert default_task_backend.get_result(result.id).args == result.args


def test_what_django_takes_for_json_is_stored_as_json(work: Callable[..., bool]) -> None:
    from django.utils.safestring import mark_safe

    result = tasks.echo.enqueue([mark_safe("<b>"), TaskResultStatus.READY, range(2)])

    work()

    result.refresh()
    assert result.args == [["<b>", "READY", [0, 1]]]
    assert result.return_value == ["<b>", "READY", [0, 1]]


def test_a_job_may_be_enqueued_and_replayed_by_the_name_of_its_task(
    work: Callable[..., bool], app: Soniq
) -> None:
    """A task is a job like any other, for code that has no more than its name."""
    from asgiref.sync import async_to_sync

    job_id = async_to_sync(app.enqueue)("tests.shop.tasks.order", number=7, express=True)
    dead = tasks.refuse.enqueue("once")
    work()
    assert default_task_backend.get_result(job_id).return_value == [7, True]

    [again] = [async_to_sync(app.dead_letter.replay)(dead.id)]

    assert default_task_backend.get_result(again).args == ["once"]
    dead.refresh()
    assert dead.status == TaskResultStatus.FAILED


def test_a_late_return_of_a_task_that_was_given_up_is_not_told(work: Callable[..., bool]) -> None:
    from tests.django.tasks.conftest import heard
    from tests.support.task_api import task_finished

    tasks.let_go.clear()
    with heard(task_finished) as said:
        tasks.overstay.enqueue()
        try:
            work()
            abandoned = [thread for thread in threading.enumerate() if thread.name.startswith("soniq-slot")]
        finally:
            tasks.let_go.set()
        assert abandoned, "the worker waited for the task to return"
        for thread in abandoned:
            thread.join(10)
            assert not thread.is_alive()

    assert [status for _, _, status in said] == ["FAILED"]


def test_our_decorator_takes_options_on_every_django() -> None:
    from soniq_django.tasks import task

    declared = task(max_retries=7, queue_name="emails")(plain)

    assert (declared.max_retries, declared.queue_name, declared.priority) == (7, "emails", 0)
    assert task(plain).func is plain


def test_our_decorator_refuses_what_belongs_to_one_enqueue() -> None:
    from soniq_django.tasks import task

    # The words of Django 6.1, for whoever looks for them.
    with pytest.raises(TypeError, match="run_after cannot be defined statically with the @task decorator"):
        task(run_after=None)
    with pytest.raises(TypeError, match="max_retires"):
        task(max_retires=7)(plain)


def plain() -> None:
    """Stands for a task's function."""
