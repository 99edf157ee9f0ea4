"""One map from what Django's databases raise to what Soniq raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, OperationalError, connections

from soniq.errors import BackendConflict, BackendNotReady, BackendUnavailable

# PostgreSQL's SQLSTATEs, MySQL's error numbers.
# Deadlock, serialization failure: the transaction was rolled back.
_GIVEN_UP = {"40P01", "40001", 1213}
# Lock wait timeout, row changed since it was read.
_CONFLICTS = _GIVEN_UP | {1205, 1020}
# The connection is of no use any more, another one may be: a standby after a failover (25006, and MySQL's
# numbers); prepared statements that a migration made invalid (0A000), or that a pooler gave to somebody
# else (26000, 42P05); a session that the server ended because its transaction took too long (25P03, 25P04).
_STALE = {"25006", "0A000", "26000", "42P05", "25P03", "25P04", 1290, 1792, 1836}
# PostgreSQL: the role lacks a right, which can be given back. MySQL's drivers call that operational.
_FORBIDDEN = "42501"
# What MySQL's drivers call operational, and is a value that will be refused again.
_REFUSED = {1153, 1264, 1292, 1301, 1366, 1406, 3140}
# Undefined table, undefined column: a migration was not applied yet.
_MISSING = {"42P01", "42703", 1146, 1054}
_MISSING_IN_SQLITE = ("no such table: soniq_", "no such column: soniq_", "table soniq_jobs has no column")


@contextmanager
def translated(alias: str, inner: AbstractContextManager[object] | None = None) -> Iterator[None]:
    """Run the block, within ``inner``; raise Soniq's errors for the database's.

    A connection that broke is closed, so that the next call opens a new one.

    :raises BackendUnavailable: the database cannot be reached or refuses to write
    :raises BackendNotReady: it has no tables of ours
    :raises BackendConflict: it gave up the transaction; doing it again may work
    """
    try:
        # What is said in SQL speaks to the driver itself, and gets the driver's own errors.
        with connections[alias].wrap_database_errors, inner or nullcontext():
            yield
    except DatabaseError as error:
        if _code(error) in _STALE:
            connections[alias].close()
            raise BackendUnavailable(f"{alias}: {_line(error)}") from error
        if isinstance(error, OperationalError):
            _drop_if_broken(alias)
            if _code(error) in _CONFLICTS:
                raise BackendConflict(f"{alias}: {_line(error)}") from error
        if _is_absence(error):
            raise _unavailable(alias, error) from error
        raise
    except InterfaceError as error:
        _drop_if_broken(alias)
        raise _unavailable(alias, error) from error


def was_given_up(error: BackendConflict) -> bool:
    """Whether the transaction was rolled back for others' sake, so that doing it again at once may work."""
    return error.__cause__ is not None and _code(error.__cause__) in _GIVEN_UP


def _is_absence(error: DatabaseError) -> bool:
    """Whether it is the database that does not work, not what was asked of it."""
    if isinstance(error, OperationalError):
        return _code(error) not in _REFUSED
    return _code(error) == _FORBIDDEN or _lacks_table(error)


def _drop_if_broken(alias: str) -> None:
    connection = connections[alias]
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _code(error: BaseException) -> object:
    """The number, of MySQL's drivers, which says more than their SQLSTATE; else the SQLSTATE."""
    number = next(iter(error.args), None)
    return number if isinstance(number, int) else getattr(error.__cause__, "sqlstate", None)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _unavailable(alias: str, error: BaseException) -> BackendUnavailable:
    if _lacks_table(error):
        return BackendNotReady(f"{alias}: {_line(error)}; {remedy(alias)}")
    return BackendUnavailable(f"{alias}: {_line(error)}")


def _lacks_table(error: BaseException) -> bool:
    # Other errors name our tables, too: one that a single row causes must not look like a missing table.
    if _code(error) in _MISSING:
        return "soniq_" in str(error)
    return any(part in str(error) for part in _MISSING_IN_SQLITE)


def remedy(alias: str) -> str:
    """What makes the database ready."""
    database = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
    return f"run manage.py migrate{database}"
