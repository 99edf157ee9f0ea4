"""Our immediate and dummy backends, and the checks of all three."""

from __future__ import annotations

import sys
from copy import copy
from datetime import timedelta
from decimal import Decimal
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.core import checks
from django.db import transaction
from django.utils import timezone

from soniq import PayloadTooLarge
from soniq_django.tasks import DummyBackend, ImmediateBackend, SoniqTask, compat
from tests.django.tasks.conftest import heard
from tests.shop import tasks
from tests.shop.models import Note
from tests.support.task_api import (
    LOGGER,
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultStatus,
    default_task_backend,
    task,
    task_backends,
    task_finished,
)

FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


@pytest.fixture
def immediate(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "soniq_django.tasks.ImmediateBackend", "QUEUES": []}}


@pytest.fixture
def dummy(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "soniq_django.tasks.DummyBackend", "QUEUES": ["default", "q1"]}}


@pytest.mark.parametrize("kind", ["ImmediateBackend", "DummyBackend"])
def test_a_backend_without_tables_needs_no_app(
    settings: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """So tests of an app with tasks can use it whose settings install little."""
    settings.TASKS = {"default": {"BACKEND": f"soniq_django.tasks.{kind}"}}
    settings.SONIQ = {"MAX_ARGS_BYTES": 50}
    settings.INSTALLED_APPS = []
    monkeypatch.setattr("soniq.default._default", None)

    assert list(task_backends["default"].check()) == []
    assert tasks.echo.enqueue(2).args == [2]
    assert tasks.unstorable.enqueue().args == []
    with pytest.raises(PayloadTooLarge):
        tasks.echo.enqueue("x" * 50)


# -- immediate


@pytest.mark.usefixtures("immediate")
class TestImmediate:
    def test_tasks_that_were_declared_before_run_at_once(self) -> None:
        assert isinstance(task_backends["default"], ImmediateBackend)
        assert isinstance(task_backends["default"], compat.ImmediateBackend)  # as Django's code may ask
        for declared in (tasks.total, tasks.atotal):
            result = declared.enqueue(1, factor=3)

            assert (result.status, result.return_value, result.attempts) == (SUCCESSFUL, 3, 1)
            assert (result.args, result.kwargs, result.task) == ([1], {"factor": 3}, declared)
            assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at

    async def test_also_from_async_code(self) -> None:
        assert (await tasks.total.aenqueue(1)).return_value == 1
        assert (await tasks.atotal.aenqueue(1)).return_value == 1

    def test_options_of_ours_are_taken_and_nothing_is_retried(self, caplog: pytest.LogCaptureFixture) -> None:
        result = tasks.flaky.using(max_retries=5, timeout=3).enqueue("again")

        assert (result.status, result.attempts, len(result.errors)) == (FAILED, 1, 1)
        assert result.errors[0].exception_class is LookupError
        assert result.errors[0].traceback.endswith("LookupError: again\n")
        with pytest.raises(ValueError, match="Task failed"):
            _ = result.return_value

    def test_system_exit_is_a_failure_and_ctrl_c_is_not(self, caplog: pytest.LogCaptureFixture) -> None:
        assert tasks.leave.enqueue("SystemExit").errors[0].exception_class is SystemExit
        caplog.clear()

        with pytest.raises(KeyboardInterrupt):
            tasks.leave.enqueue("KeyboardInterrupt")

        assert not [r for r in caplog.records if r.name == LOGGER and r.levelname == "ERROR"]

    def test_a_result_that_is_no_json_is_a_failure(self) -> None:
        result = tasks.unstorable.enqueue()

        assert result.status == FAILED
        assert result.errors[0].exception_class is TypeError
        assert "Unsupported type" in result.errors[0].traceback

    def test_arguments_take_the_way_that_they_take_to_a_worker(self) -> None:
        result = tasks.echo.enqueue(Decimal("1.50"))

        assert result.return_value == Decimal("1.50")
        assert result.args == [{"$decimal": "1.50"}]
        with pytest.raises(TypeError, match="Unsupported type"):
            tasks.echo.enqueue(object())

    @pytest.mark.django_db
    @pytest.mark.parametrize(
        ("missing", "outcome"), [("fail", FAILED), ("discard", SUCCESSFUL), ("none", SUCCESSFUL)]
    )
    def test_an_instance_that_is_gone_is_met_as_in_a_worker(self, missing: str, outcome: Any) -> None:
        note = Note.objects.create(text="gone")
        gone = copy(note)
        note.delete()

        result = tasks.has_note.using(missing=missing).enqueue(gone)

        assert result.status == outcome
        if outcome == FAILED:
            assert result.errors[0].exception_class_path == "soniq.errors.ReferenceGone"
        else:
            assert result.return_value is {"discard": None, "none": False}[missing]

    @pytest.mark.django_db
    def test_an_atomic_task_that_fails_has_written_nothing(self) -> None:
        assert tasks.write_and_refuse.enqueue("lost", "default").status == FAILED
        assert tasks.write_note.using(atomic=True).enqueue("kept", "default").status == SUCCESSFUL

        assert [note.text for note in Note.objects.all()] == ["kept"]

    def test_the_context_is_that_of_the_one_attempt(self) -> None:
        result = tasks.about_me.enqueue()

        assert result.return_value == [result.id, 1, "RUNNING", result.worker_ids, []]

    def test_the_signals_come_in_order_and_failures_within_their_exception(self) -> None:
        seen: list[Any] = []

        def receive(**_: Any) -> None:
            seen.append(sys.exc_info()[0])

        task_finished.connect(receive)
        try:
            with heard() as said:
                tasks.total.enqueue(1)
                tasks.refuse.enqueue()
        finally:
            task_finished.disconnect(receive)

        assert [(word, status) for word, _, status in said] == [
            ("enqueued", "READY"),
            ("started", "RUNNING"),
            ("finished", "SUCCESSFUL"),
            ("enqueued", "READY"),
            ("started", "RUNNING"),
            ("finished", "FAILED"),
        ]
        assert seen == [None, ValueError]

    def test_three_lines_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", logger=LOGGER)

        result = tasks.total.enqueue(1)

        lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
        assert len(lines) == 3
        assert all(result.id in line for line in lines)
        assert [word in line for word, line in zip(("enqueued", "RUNNING", "SUCCESSFUL"), lines, strict=True)]

    def test_it_cannot_defer_nor_find_results(self) -> None:
        with pytest.raises(InvalidTask, match="Backend does not support run_after"):
            tasks.total.using(run_after=timezone.now())
        with pytest.raises(NotImplementedError, match="does not support retrieving or refreshing results"):
            default_task_backend.get_result("123")
        with pytest.raises(NotImplementedError, match="does not support retrieving or refreshing results"):
            tasks.total.enqueue(1).refresh()

    @pytest.mark.django_db(transaction=True)
    def test_it_does_not_wait_for_the_commit(self) -> None:
        with transaction.atomic():
            assert tasks.write_note.enqueue("now", "default").status == SUCCESSFUL


# -- dummy


@pytest.mark.usefixtures("dummy")
class TestDummy:
    def test_tasks_that_were_declared_before_are_kept(self) -> None:
        assert isinstance(task_backends["default"], DummyBackend)
        result = tasks.flaky.using(max_retries=9, priority=3).enqueue("x")

        assert default_task_backend.results == [result]
        assert (result.status, result.args, result.task.max_retries) == ("READY", ["x"], 9)
        assert result.enqueued_at is not None
        default_task_backend.clear()
        assert default_task_backend.results == []

    def test_results_are_found_in_the_same_thread(self) -> None:
        result = tasks.total.enqueue(1)

        assert default_task_backend.get_result(result.id) == result
        assert async_to_sync(default_task_backend.aget_result)(result.id) == result
        with pytest.raises(TaskResultDoesNotExist):
            default_task_backend.get_result("123")

    def test_what_could_not_be_stored_is_refused_here_too(self) -> None:
        with pytest.raises(TypeError, match="Unsupported type"):
            tasks.echo.enqueue(object())
        with pytest.raises(TypeError, match="missing a required argument"):
            tasks.echo.enqueue()
        assert default_task_backend.results == []
        assert tasks.echo.enqueue(Decimal("1.5")).args == [{"$decimal": "1.5"}]

    def test_it_takes_what_the_real_one_takes(self) -> None:
        result = tasks.total.using(run_after=timezone.now() + timedelta(hours=1), queue_name="q1").enqueue()

        assert result.task.queue_name == "q1"
        with pytest.raises(InvalidTask, match="Queue 'q2' is not valid for backend"):
            tasks.total.using(queue_name="q2")

    def test_tasks_can_be_declared_under_it_with_our_options(self) -> None:
        declared = task(max_retries=4, retry_backoff=True)(tasks.total.func)

        assert type(declared) is SoniqTask
        assert declared.max_retries == 4


# -- checks


def found(**entry: Any) -> list[checks.CheckMessage]:
    from soniq_django.tasks import SoniqBackend

    return list(SoniqBackend(alias="default", params=entry).check())


def test_good_settings_pass_the_checks() -> None:
    assert [message for backend in task_backends.all() for message in backend.check()] == []


def test_a_missing_app_is_an_error(settings: Any) -> None:
    settings.INSTALLED_APPS = []

    [error] = found()

    assert "soniq_django" in error.hint
    assert error.id == "soniq.tasks.E001"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retires": 3}, "unknown key in OPTIONS 'max_retires'; did you mean 'max_retries'?"),
        ({"max_retries": -3}, "max_retries is -3"),
        (["max_retries"], "OPTIONS is ['max_retries']: give a dict"),
    ],
)
def test_impossible_options_of_a_backend_are_errors(options: Any, message: str) -> None:
    [error] = found(OPTIONS=options)

    assert message in error.msg
    assert error.id == "soniq.tasks.E002"


def test_names_that_no_queue_can_have_are_errors() -> None:
    [error] = found(QUEUES=["default", "no queue"])

    assert "'no queue' is no queue name" in error.msg
    assert error.id == "soniq.tasks.E003"


def test_the_app_of_the_backport_is_missed_where_it_is_needed(settings: Any) -> None:
    from soniq_django.task_modules import check_backport

    assert check_backport() == []
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_tasks"]

    found = [message.id for message in check_backport()]

    assert found == (["soniq.tasks.W001"] if django.VERSION < (6, 0) else [])
