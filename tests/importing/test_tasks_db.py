"""django-tasks-db's rows become jobs."""

import sys
import threading
from datetime import timedelta
from importlib.util import find_spec

import pytest
from django.core.management import CommandError
from django.db import connections, transaction
from django.test import override_settings
from django.utils import timezone

from soniq_django.models import Job
from tests.importing.conftest import drop_tables, installed, make_tables
from tests.importing.jobs import SEND
from tests.support.vendors import ALIASES, MYSQL, POSTGRES

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": []}}
OLD = "tests.importing.test_tasks_db"
pytestmark = pytest.mark.django_db(databases="__all__")


def send_receipt(order_id, note=""): ...


def unknown(order_id): ...


@pytest.fixture(scope="module", autouse=True)
def tables(reachable, django_db_blocker):
    with installed("django_tasks_db", TASKS=TASKS):
        names = ["DBTaskResult"]
        make_tables("django_tasks_database", names, reachable, django_db_blocker)
        yield
        drop_tables("django_tasks_database", names, reachable, django_db_blocker)


class OnAlias:
    """A router by which their tables and soniq's are on one alias."""

    def __init__(self, alias):
        self.alias = alias

    def db_for_write(self, model, **_hints):
        return self.alias

    db_for_read = db_for_write


FUNCTIONS = (send_receipt, unknown)


def declare(monkeypatch):
    """The functions above are tasks: a task is looked up by the path of its function."""
    if find_spec("django.tasks"):
        from django.tasks import task
    else:
        from django_tasks import task
    for function in FUNCTIONS:
        monkeypatch.setattr(sys.modules[__name__], function.__name__, task()(function))


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    declare(monkeypatch)


@pytest.fixture
def theirs():
    from django_tasks_db.models import DBTaskResult

    return DBTaskResult


@pytest.mark.parametrize("alias", ALIASES)
def test_waiting_tasks_become_jobs_once(alias, theirs, run_import, stored, soniq_on):
    soniq_on(alias)
    with override_settings(DATABASE_ROUTERS=[OnAlias(alias)]):
        send_receipt.enqueue(1)
        send_receipt.using(priority=50, queue_name="emails").enqueue(order_id=2, note="later")
        ran = run_import("tasks_db", "--map", f"{OLD}.=tests.importing.jobs.", "--batch-size", "1")
        assert (ran.code, ran.said.splitlines()[0]) == (0, "waiting tasks of django-tasks-db: 2 moved")
        assert stored(alias) == [
            (SEND, {"order_id": 1}, "default", 100),
            (SEND, {"order_id": 2, "note": "later"}, "emails", 50),
        ]
        assert theirs.objects.count() == 0
        again = run_import("tasks_db", "--map", f"{OLD}.=tests.importing.jobs.")
        assert "0 moved" in again.said
        assert Job.objects.using(alias).count() == 2


def test_a_task_for_later_stays_for_later(run_import):
    when = timezone.now() + timedelta(hours=3)
    send_receipt.using(run_after=when).enqueue(1)
    run_import("tasks_db", "--map", f"{OLD}.send_receipt={SEND}")
    assert abs(Job.objects.get().scheduled_at - when) < timedelta(seconds=1)


def test_tasks_at_once_are_due_at_once(run_import):
    send_receipt.enqueue(1)
    run_import("tasks_db", "--map", f"{OLD}.send_receipt={SEND}")
    assert Job.objects.get().scheduled_at <= timezone.now() + timedelta(seconds=5)


def test_what_runs_or_ran_is_left_alone(theirs, run_import):
    for status in ("RUNNING", "SUCCESSFUL", "FAILED"):
        theirs.objects.filter(pk=send_receipt.enqueue(1).id).update(status=status)
    ran = run_import("tasks_db", "--map", f"{OLD}.send_receipt={SEND}")
    assert (ran.code, theirs.objects.count(), Job.objects.count()) == (0, 3, 0)


def test_unknown_tasks_and_arguments_that_do_not_fit_are_listed_and_left(theirs, run_import):
    unknown.enqueue(1)
    send_receipt.enqueue(1)
    odd = send_receipt.enqueue(1)
    theirs.objects.filter(pk=odd.id).update(args_kwargs={"args": [], "kwargs": {"order": 1}})
    ran = run_import("tasks_db", "--map", f"{OLD}.send_receipt={SEND}")
    assert ran.code == 1
    assert "1 moved" in ran.said
    assert f"{OLD}.unknown: 1 (such as " in ran.said
    assert f"no job named '{OLD}.unknown' is registered" in ran.said
    assert f"--map {OLD}.unknown=NAME" in ran.said
    assert "cannot take these arguments" in ran.said
    assert str(odd.id) in ran.said
    assert (theirs.objects.count(), Job.objects.count()) == (2, 1)


def test_a_dry_run_says_the_same_and_changes_nothing(theirs, run_import):
    send_receipt.enqueue(1)
    unknown.enqueue(1)
    ran = run_import("tasks_db", "--dry-run", "--map", f"{OLD}.send_receipt={SEND}")
    assert ran.code == 1
    assert "1 would be moved" in ran.said
    assert "1 would stay" in ran.said
    assert (theirs.objects.count(), Job.objects.count()) == (2, 0)


def test_a_queue_can_be_renamed(run_import, stored):
    send_receipt.using(queue_name="mail").enqueue(1)
    run_import("tasks_db", "--map", f"{OLD}.send_receipt={SEND}", "--map-queue", "mail=emails")
    assert stored()[0][2] == "emails"


def test_the_jobs_own_queue_and_priority_hold_for_tasks_that_said_nothing(run_import, stored):
    send_receipt.enqueue(1)
    run_import("tasks_db", "--map", f"{OLD}.send_receipt=moving.renamed")
    assert stored() == [("moving.renamed", {"order_id": 1}, "emails", 300)]


def test_a_batch_that_cannot_be_stored_stays_where_it_was(theirs, run_import, monkeypatch):
    """Whatever breaks between the two tables, a row is in exactly one of them."""
    from soniq import BackendUnavailable
    from soniq_django import soniq as app

    for order_id in range(3):
        send_receipt.enqueue(order_id)
    store, calls = app.backend.enqueue, []

    def breaks_at_the_second_batch(jobs):
        calls.append(jobs)
        if len(calls) == 2:
            store(jobs)
            raise BackendUnavailable("gone")
        return store(jobs)

    monkeypatch.setattr(app.backend, "enqueue", breaks_at_the_second_batch)
    with pytest.raises(CommandError, match="cannot go on: gone"):
        run_import("tasks_db", "--map", f"{OLD}.send_receipt={SEND}", "--batch-size", "1")
    assert [job.args for job in Job.objects.all()] == [{"order_id": 0}]
    assert theirs.objects.count() == 2


def test_rows_that_go_away_meanwhile_are_not_moved(theirs, run_import, monkeypatch):
    """Another worker took one, on a database without row locks."""
    from soniq_django.importing.tasks_db import ReadyResults

    send_receipt.enqueue(1)
    take = ReadyResults.take
    monkeypatch.setattr(ReadyResults, "take", lambda source, rows: take(source, rows) - 1)
    with pytest.raises(CommandError, match="went away meanwhile; this batch was left as it is"):
        run_import("tasks_db", "--map", f"{OLD}.send_receipt={SEND}")
    assert (theirs.objects.count(), Job.objects.count()) == (1, 0)


def test_rows_in_another_database_than_soniqs_are_refused(reachable, run_import, soniq_on):
    if len(reachable) < 2:
        pytest.skip("needs two databases")
    send_receipt.enqueue(1)
    soniq_on(reachable[1])
    with pytest.raises(CommandError, match=r"set SONIQ\['DATABASE'\] to 'default'"):
        run_import("tasks_db", "--map", f"{OLD}.send_receipt={SEND}")


@pytest.mark.parametrize("pair", ["old", "=new", "old=", "old.=new", "old=new."])
def test_a_map_that_says_nothing_is_refused(pair, run_import):
    with pytest.raises(CommandError, match="write OLD=NEW"):
        run_import("tasks_db", "--map", pair)


def test_an_app_that_is_not_installed_is_named(run_import):
    with pytest.raises(CommandError, match=r"'procrastinate\.contrib\.django' is not in INSTALLED_APPS"):
        run_import("procrastinate")


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", [*POSTGRES, *MYSQL])
def test_a_row_that_a_worker_holds_is_left_to_it(alias, theirs, run_import, stored, soniq_on):
    """And does not make the command wait."""
    soniq_on(alias)
    held, done = threading.Event(), threading.Event()

    def hold(key):
        try:
            with transaction.atomic(using=alias):
                theirs.objects.using(alias).select_for_update().get(pk=key)
                held.set()
                done.wait(30)
        finally:
            connections.close_all()

    with override_settings(DATABASE_ROUTERS=[OnAlias(alias)]):
        worker = threading.Thread(target=hold, args=[send_receipt.enqueue(1).id])
        send_receipt.enqueue(2)
        worker.start()
        try:
            assert held.wait(30)
            ran = run_import("tasks_db", "--map", f"{OLD}.send_receipt={SEND}")
        finally:
            done.set()
            worker.join()
        assert "1 moved" in ran.said
        assert stored(alias) == [(SEND, {"order_id": 2}, "default", 100)]
        assert theirs.objects.count() == 1


def test_tasks_that_stay_tasks_need_no_map(theirs, run_import, stored, monkeypatch):
    """The project changes TASKS, and nothing else."""
    pytest.importorskip("soniq_django.tasks")
    send_receipt.enqueue(1, note="n")
    with override_settings(TASKS={"default": {"BACKEND": "soniq_django.tasks.SoniqBackend", "QUEUES": []}}):
        declare(monkeypatch)
        ran = run_import("tasks_db")
    assert (ran.code, theirs.objects.count()) == (0, 0), ran.said
    assert [row[0] for row in stored()] == [f"{OLD}.send_receipt"]
