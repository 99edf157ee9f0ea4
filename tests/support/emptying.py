"""Databases are emptied after a test by looking which tables hold anything, and deleting that.

Django's own way, the command ``flush``, truncates every table of every database, and makes the content types
and the permissions anew: a second per test on three databases. Here those two are left as they are, and so
is the table of migrations, since they belong to the schema; a test that changes them has to undo it.
"""

from __future__ import annotations

from django.apps import apps
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TransactionTestCase

OF_THE_SCHEMA = frozenset({"auth_permission", "django_content_type", "django_migrations"})


def empty(alias: str) -> None:
    """Delete all rows that tests may have written, whoever wrote them."""
    connection = connections[alias]
    used = _used(connection)
    if not used:
        return
    # PostgreSQL looks at foreign keys at the commit; the others are told not to look.
    with (
        connection.constraint_checks_disabled(),
        transaction.atomic(using=alias),
        connection.cursor() as cursor,
    ):
        for table in used:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


# By database, of which two servers may have one of the same name, and apps: which tables there are is asked
# once, and again if one of them is gone.
_queries: dict[tuple[str, frozenset[str]], str] = {}


def _used(connection: BaseDatabaseWrapper) -> list[str]:
    """The tables that hold a row."""
    key = f"{connection.vendor} {connection.settings_dict['NAME']}", frozenset(apps.app_configs)
    if key in _queries:
        try:
            return _first_column(connection, _queries[key])
        except DatabaseError:
            connection.close()
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    _queries[key] = " UNION ALL ".join(
        f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {connection.ops.quote_name(table)})"
        for table in sorted(set(tables) - OF_THE_SCHEMA)
    )
    return _first_column(connection, _queries[key])


def _first_column(connection: BaseDatabaseWrapper, query: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [row[0] for row in cursor.fetchall()]


def empty_all(case: TransactionTestCase) -> None:
    """Stands for :meth:`TransactionTestCase._fixture_teardown`."""
    for alias in case._databases_names(include_mirrors=False):
        empty(alias)
