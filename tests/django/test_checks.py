"""System checks: what they find, where they ask a database, and what they say to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import checks
from django.core.checks import CheckMessage
from django.core.management import call_command
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteWrapper
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

import soniq
from soniq_django.backend import DjangoBackend
from soniq_django.checks import (
    check_atomic_requests,
    check_options,
    check_other_databases,
    check_settings,
)
from soniq_django.models import Job, Worker
from soniq_django.server_checks import check_server, check_workers
from tests.support.docs import ROOT
from tests.support.vendors import ALIASES, POSTGRES
from tests.yard.jobs import noop

WAL = "PRAGMA journal_mode=WAL;"


@pytest.fixture(autouse=True)
def same_app() -> Iterator[None]:
    """Settings that are overridden make another default app; the others' tests keep theirs."""
    before = soniq.get_default_app()
    yield
    soniq.set_default_app(before)


@pytest.fixture
def jobs_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Pretend that the jobs are on a database with these settings; nothing connects to it."""

    def put(wrapper: type, options: dict[str, Any] | None = None, **others: Any) -> None:
        described = {
            **connections.settings["default"],
            "NAME": "/nowhere/shop",
            "DISABLE_SERVER_SIDE_CURSORS": False,
            **others,
            "OPTIONS": options or {},
        }
        monkeypatch.setitem(connections.settings, "default", described)
        connections["default"] = wrapper(described, "default")

    before = connections["default"]
    yield put
    connections["default"] = before


def ids(found: list[CheckMessage]) -> list[str]:
    return [message.id or "" for message in found]


# -- settings


def test_settings_that_can_be_used_are_worth_no_word() -> None:
    """Those of the tests, for one."""
    assert check_settings() == []
    assert check_atomic_requests() == []


@pytest.mark.parametrize(
    ("values", "found", "text"),
    [
        ({"CONCURENCY": 4}, "soniq.E001", "did you mean 'CONCURRENCY'?"),
        ({"HEARTBEAT_INTERVAL": 30}, "soniq.E001", "set DEAD_AFTER to 90 or more"),
        ({"DATABASE": "nowhere"}, "soniq.E002", "'nowhere', which DATABASES does not have"),
    ],
)
def test_settings_that_cannot_be_used_are_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, settings: Any, values: Any, found: str, text: str
) -> None:
    """And no other check stumbles over them."""
    wrong = SimpleNamespace(SONIQ=values, DATABASES=settings.DATABASES)
    monkeypatch.setattr("soniq_django.conf.django_settings", wrong)

    [message] = check_settings()

    assert message.id == found
    assert text in message.msg
    assert message.is_serious()
    assert [*check_options(), *check_server(databases=["default"]), *check_atomic_requests()] == []


# -- options


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"transaction_mode": "IMMEDIATE", "init_command": WAL}, []),
        ({"transaction_mode": "EXCLUSIVE", "init_command": WAL.lower()}, []),
        ({"init_command": WAL}, ["soniq.W004"]),
        ({"transaction_mode": "immediate"}, ["soniq.W005"]),
        ({}, ["soniq.W004", "soniq.W005"]),
    ],
)
def test_sqlite_wants_immediate_transactions_and_a_write_ahead_log(
    jobs_on: Any, options: Any, found: list[str]
) -> None:
    """Without them, workers and requests meet "database is locked"."""
    jobs_on(SQLiteWrapper, options)
    assert ids(check_options()) == found


def test_a_sqlite_file_that_has_a_write_ahead_log_keeps_it(jobs_on: Any, tmp_path: Path) -> None:
    """The mode is a property of the file, so no option has to ask for it."""
    import sqlite3

    for mode, found in (("WAL", []), ("DELETE", ["soniq.W005"])):
        path = tmp_path / f"{mode}.sqlite3"
        file = sqlite3.connect(path)
        file.execute(f"PRAGMA journal_mode={mode}")
        file.execute("CREATE TABLE t (n)")
        file.close()
        jobs_on(SQLiteWrapper, {"transaction_mode": "IMMEDIATE"}, NAME=path)
        assert ids(check_options()) == found


def test_a_database_in_memory_has_no_files_to_care_for(jobs_on: Any) -> None:
    """Tests use them."""
    jobs_on(SQLiteWrapper, {}, NAME="file:memorydb_default?mode=memory&cache=shared")
    assert check_options() == []


@pytest.mark.parametrize(
    ("size", "concurrency", "found"),
    [
        ({"max_size": 7}, None, []),
        ({"max_size": 6}, None, ["soniq.W003"]),
        ({"min_size": 6}, 4, ["soniq.W003"]),
        ({}, 1, []),
        (True, None, ["soniq.W003"]),
        ({"min_size": 2, "max_size": 20}, 18, ["soniq.W003"]),
        (False, None, []),
    ],
)
def test_a_pool_has_room_for_all_slots_and_what_the_worker_needs_besides(
    jobs_on: Any, size: Any, concurrency: int | None, found: list[str]
) -> None:
    """Slots, claims, heartbeat, signals: CONCURRENCY + 3."""
    with override_settings(SONIQ={} if concurrency is None else {"CONCURRENCY": concurrency}):
        jobs_on(PostgresWrapper, {"pool": size})
        messages = check_options()

    assert ids(messages) == found
    for message in messages:
        assert f"to {(concurrency or 4) + 3} or more" in str(message.hint)


@pytest.mark.parametrize("given", [lambda level: level, int], ids=["name", "number"])
@pytest.mark.parametrize("level", ["REPEATABLE_READ", "SERIALIZABLE"])
def test_postgres_wants_read_committed(jobs_on: Any, level: str, given: Any) -> None:
    """The message says what happens, the hint what to change. Django takes the driver's numbers, too."""
    levels = pytest.importorskip("psycopg").IsolationLevel
    jobs_on(PostgresWrapper, {"isolation_level": given(levels[level])})

    [message] = check_options()

    assert message.id == "soniq.W002"
    assert level.replace("_", " ") in message.msg
    jobs_on(PostgresWrapper, {"isolation_level": given(levels.READ_COMMITTED)})
    assert check_options() == []


def test_a_pooler_in_transaction_mode_is_guessed_from_what_it_needs(jobs_on: Any) -> None:
    """Unless nobody listens anyhow."""
    jobs_on(PostgresWrapper, DISABLE_SERVER_SIDE_CURSORS=True)
    assert ids(check_options()) == ["soniq.I001"]
    with override_settings(SONIQ={"NOTIFY": False}):
        assert check_options() == []


def test_mysql_wants_read_committed(jobs_on: Any) -> None:
    """Which is what Django asks for unless told otherwise."""

    class Wrapper(SQLiteWrapper):
        vendor = "mysql"

    for options, found in (
        ({}, []),
        ({"isolation_level": "READ COMMITTED"}, []),
        ({"isolation_level": "repeatable read"}, ["soniq.W002"]),
        ({"isolation_level": None}, ["soniq.W002"]),
    ):
        jobs_on(Wrapper, options)
        assert ids(check_options()) == found, options


def test_another_kind_of_database_is_worth_a_warning(jobs_on: Any) -> None:
    """It may work, and nobody has tried."""

    class Wrapper(SQLiteWrapper):
        vendor = "oracle"

    jobs_on(Wrapper)
    assert ids(check_options()) == ["soniq.W001"]


def test_requests_that_are_transactions_elsewhere_are_told(settings: Any, monkeypatch: Any) -> None:
    """An enqueue is no part of them."""
    monkeypatch.setitem(
        settings.DATABASES, "other", {**settings.DATABASES["default"], "ATOMIC_REQUESTS": True}
    )

    [message] = check_atomic_requests()
    assert message.id == "soniq.W006"

    monkeypatch.setitem(settings.DATABASES["default"], "ATOMIC_REQUESTS", True)
    assert check_atomic_requests() == []


def test_jobs_on_a_database_of_their_own_are_told(settings: Any, monkeypatch: Any) -> None:
    """What an enqueue from elsewhere promises then; not where jobs and data share one."""
    assert check_other_databases() == []
    monkeypatch.setitem(settings.DATABASES, "jobs", settings.DATABASES["default"])
    with override_settings(SONIQ={"DATABASE": "jobs"}):
        [message] = check_other_databases()
        assert message.id == "soniq.I003"
        requests = {**settings.DATABASES["default"], "ATOMIC_REQUESTS": True}
        monkeypatch.setitem(settings.DATABASES, "default", requests)
        assert ids([*check_other_databases(), *check_atomic_requests()]) == ["soniq.W006"]


def test_each_check_can_be_silenced(jobs_on: Any, capsys: Any) -> None:
    """By its id, as any of Django's."""
    jobs_on(SQLiteWrapper, {"init_command": WAL})
    call_command("check", tags=["soniq"])
    assert "soniq.W004" in capsys.readouterr().err
    with override_settings(SILENCED_SYSTEM_CHECKS=["soniq.W004"]):
        call_command("check", tags=["soniq"])
    assert "soniq.W004" not in capsys.readouterr().err


# -- the database


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_a_plain_check_asks_no_database(alias: str) -> None:
    """Builds and images are checked where there is none."""
    with override_settings(SONIQ={"DATABASE": alias}), CaptureQueriesContext(connections[alias]) as queries:
        # Said as the command says it: from Django 6.1 on, None means all databases.
        checks.run_checks(tags=["soniq"], databases=[])
    assert [query["sql"] for query in queries] == []


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_a_server_that_can_do_all_is_worth_no_word(alias: str) -> None:
    """Nor is one that is not asked for."""
    with override_settings(SONIQ={"DATABASE": alias}):
        assert check_server(databases=[alias]) == []
        assert check_server(databases=["another"]) == check_server() == []


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_a_server_without_skip_locked_is_an_error(alias: str, monkeypatch: Any) -> None:
    """MariaDB before 10.6. SQLite, which locks no rows, needs none."""
    features = connections[alias].features
    monkeypatch.setattr(features, "has_select_for_update_skip_locked", False)
    with override_settings(SONIQ={"DATABASE": alias}):
        found = ids(check_server(databases=[alias]))
    assert found == (["soniq.E003"] if features.has_select_for_update else [])


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", POSTGRES)
def test_a_servers_own_isolation_level_is_asked_for(alias: str) -> None:
    """A role or a database may have one, and no setting shows it."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SET default_transaction_isolation TO 'repeatable read'")
    try:
        with override_settings(SONIQ={"DATABASE": alias}):
            assert ids(check_server(databases=[alias])) == ["soniq.W002"]
    finally:
        connections[alias].close()


@pytest.mark.django_db
def test_a_database_that_cannot_be_reached_breaks_no_check(jobs_on: Any) -> None:
    """It is told, at a level that fails no build."""
    jobs_on(PostgresWrapper, HOST="/nowhere", NAME="shop")

    found = [*check_server(databases=["default"]), *check_workers(databases=["default"])]

    assert ids(found) == ["soniq.I002", "soniq.I002"]
    assert not any(message.is_serious() for message in found)


def wait_for(alias: str, seconds: float) -> None:
    job_id = DjangoBackend(alias).enqueue(
        [soniq.get_default_app().producer.new_job(noop, {}, noop.defaults)]
    )[0]
    since = timezone.now() - timedelta(seconds=seconds)
    Job.objects.using(alias).filter(pk=job_id).update(scheduled_at=since)


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
@pytest.mark.parametrize("alias", ALIASES)
def test_a_check_for_deployment_misses_a_worker(alias: str, named: bool) -> None:
    """And says for how long jobs have waited, if they have."""
    databases = [alias] if named else []
    with override_settings(SONIQ={"DATABASE": alias}):
        [message] = deployment_checks(databases)
        assert message.id == "soniq.W007"
        assert message.msg.endswith("has been heard of for 45 s")
        assert "soniq_worker" in str(message.hint)
        wait_for(alias, 60)
        assert deployment_checks(databases) == [message]
        wait_for(alias, 3 * 3600)
        assert "due for 3 h" in deployment_checks(databases)[0].msg

        Worker.objects.using(alias).create(pk=soniq.ids.uuid7(), hostname="h", pid=1, concurrency=1)
        assert deployment_checks(databases) == []


def test_a_worker_is_not_missed_where_the_database_must_not_be_asked() -> None:
    """Nobody named one: an image is built, or a test that may not query checks the settings."""
    assert deployment_checks([]) == []
    with pytest.raises(RuntimeError, match="not allowed"):
        deployment_checks(["default"])


def deployment_checks(databases: list[str]) -> list[checks.CheckMessage]:
    """What ``check --deploy`` says of workers."""
    found = checks.run_checks(tags=["soniq"], databases=databases, include_deployment_checks=True)
    return [message for message in found if message.id == "soniq.W007"]


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", ALIASES)
def test_tables_that_are_not_there_yet_are_told_and_no_error(alias: str, monkeypatch: Any) -> None:
    """The check runs before migrate, too."""
    monkeypatch.setattr(Job._meta, "db_table", "soniq_no_such_table")
    with override_settings(SONIQ={"DATABASE": alias}):
        assert ids(check_workers(databases=[alias])) == ["soniq.I002"]


# -- what people read


def test_each_id_is_documented_and_has_a_hint() -> None:
    """The page names exactly those that the code has."""
    used = set()
    for name in ("checks", "server_checks"):
        source = (ROOT / "soniq_django" / f"{name}.py").read_text()
        used |= set(re.findall(r'id="(soniq\.[EWI]\d{3})"', source))
        assert source.count("id=") == source.count("hint=")
    documented = re.findall(r"^### (soniq\.[EWI]\d{3})", (ROOT / "docs/checks.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(used)


def test_without_the_app_the_api_says_what_is_missing() -> None:
    """A check of an app that is not installed would never run; the first use tells."""
    soniq.set_default_app(None)
    with pytest.raises(soniq.NotConfigured, match="add 'soniq_django' to INSTALLED_APPS"):
        noop.enqueue()
