"""One map from what Django's databases raise to what Soniq raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, OperationalError, connections

from soniq.errors import BackendConflict, BackendUnavailable

_CONFLICTS = {"40001", "40P01"}  # serialization failure, deadlock
# The connection is of no use any more, another one may be: a standby after a failover (25006); prepared
# statements that a migration made invalid (0A000), or that a pooler gave to somebody else (26000, 42P05).
_STALE = {"25006", "0A000", "26000", "42P05"}
_MISSING = {"42P01", "42703"}  # undefined table, undefined column: a migration was not applied yet
_MISSING_IN_SQLITE = ("no such table: soniq_", "no such column: soniq_", "table soniq_jobs has no column")


@contextmanager
def translated(alias: str, inner: AbstractContextManager[object] | None = None) -> Iterator[None]:
    """Run the block, within ``inner``; raise Soniq's errors for the database's.

    A connection that broke is closed, so that the next call opens a new one.

    :raises BackendUnavailable: the database cannot be reached or refuses to write
    :raises BackendConflict: it gave up the transaction; doing it again may work
    """
    try:
        # What is said in SQL speaks to the driver itself, and gets the driver's own errors.
        with connections[alias].wrap_database_errors, inner or nullcontext():
            yield
    except (OperationalError, InterfaceError) as error:
        _drop_if_broken(alias)
        if _sqlstate(error) in _CONFLICTS:
            raise BackendConflict(f"{alias}: {_line(error)}") from error
        raise BackendUnavailable(f"{alias}: {_line(error)}{_hint(alias, error)}") from error
    except DatabaseError as error:
        if _sqlstate(error) in _STALE:
            connections[alias].close()
            raise BackendUnavailable(f"{alias}: {_line(error)}") from error
        if _hint(alias, error):
            raise BackendUnavailable(f"{alias}: {_line(error)}{_hint(alias, error)}") from error
        raise


def _drop_if_broken(alias: str) -> None:
    connection = connections[alias]
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _hint(alias: str, error: BaseException) -> str:
    # Other errors name our tables, too: one that a single row causes must not look like a missing table.
    missing = _sqlstate(error) in _MISSING and "soniq_" in str(error)
    if not missing and not any(part in str(error) for part in _MISSING_IN_SQLITE):
        return ""
    database = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
    return f"; run manage.py migrate{database}"
