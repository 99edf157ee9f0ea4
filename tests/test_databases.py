"""The house's own foundations: what `tests.support` promises about databases."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections

from tests.shop.models import Note
from tests.support.databases import vendor_of_alias
from tests.support.emptying import empty
from tests.support.lasting import LastingSessions
from tests.support.vendors import ALIASES, MYSQL, POSTGRES, SQLITE


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_a_row_is_written_on_every_alias(alias):
    Note.objects.using(alias).create(text="written")
    assert Note.objects.using(alias).get().text == "written"


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_its_vendor(alias):
    expected = {"sqlite": "sqlite", "postgres": "postgresql", "mysql": "mysql"}[vendor_of_alias()[alias]]
    assert connections[alias].vendor == expected


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", ALIASES)
def test_threads_share_the_database(alias):
    def write(number):
        try:
            Note.objects.using(alias).create(text=str(number))
        finally:
            connections[alias].close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(20)))
    assert Note.objects.using(alias).count() == 20


@pytest.mark.slow
@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", ALIASES)
def test_a_process_started_by_a_test_opens_the_same_database(alias):
    program = (
        "import sys, django; django.setup();"
        "from tests.shop.models import Note;"
        "Note.objects.using(sys.argv[1]).create(text='from outside')"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", program, alias], check=True, env=environment)
    assert Note.objects.using(alias).get().text == "from outside"


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("alias", SQLITE)
def test_sqlite_is_a_file_in_wal_mode(alias):
    with connections[alias].cursor() as cursor:
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert cursor.execute("PRAGMA busy_timeout").fetchone()[0] >= 5000
        assert cursor.execute("PRAGMA database_list").fetchone()[2].startswith(os.environ["SONIQ_TEST_RUN"])


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("alias", POSTGRES)
def test_postgres_has_room_for_many_workers(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW max_connections")
        assert int(cursor.fetchone()[0]) >= 200


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_emptying_leaves_nothing_but_what_belongs_to_the_schema(alias):
    """Rows that point at each other included; permissions are still there for the next test."""
    user = User.objects.db_manager(alias).create_user("ada")
    permission = Permission.objects.using(alias).first()
    user.user_permissions.add(permission)
    Note.objects.using(alias).create(text="committed")

    empty(alias)

    assert not User.objects.using(alias).exists()
    assert not Note.objects.using(alias).exists()
    assert not User.user_permissions.through.objects.using(alias).exists()
    assert Permission.objects.using(alias).filter(pk=permission.pk).exists()


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_which_tables_there_are_is_asked_once(alias, monkeypatch):
    """Whatever other databases are emptied in between."""
    for each in connections:
        empty(each)
    monkeypatch.setattr(connections[alias].introspection, "django_table_names", None)

    empty(alias)


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", [*POSTGRES, *MYSQL])
def test_a_session_lasts_from_test_to_test_and_is_renewed_if_one_has_ended_it(alias):
    """And is none of a test's own."""
    own, kill = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mysql": ("SELECT CONNECTION_ID()", "KILL {}"),
    }[connections[alias].vendor]
    seen = []

    def ask():
        with connections[alias].cursor() as cursor:
            cursor.execute(own)
            seen.append(cursor.fetchone()[0])

    sessions = LastingSessions()
    sessions.lend(ask)
    with connections[alias].cursor() as cursor:
        cursor.execute(kill.format(seen[0]))
    for _ in range(2):
        sessions.lend(ask)
    sessions.close()
    ask()

    assert seen[1] == seen[2]
    assert len(set(seen)) == 3
