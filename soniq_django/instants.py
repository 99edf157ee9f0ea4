"""Instants that no change of the clock can blur: microseconds since 1970, as a whole number.

Without ``USE_TZ`` a ``DateTimeField`` holds the local time, which an autumn night shows twice; and where
columns have no zone, so does the database's now. A fire time that is read back an hour too early would be
fired again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, DateTimeField, Field, Func
from django.db.models.sql.compiler import SQLCompiler

from soniq_django.clock import instead_of_now
from soniq_django.times import aware, stored_time

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    """Those since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(value: int) -> datetime:
    """The instant so many microseconds after 1970, aware and in UTC."""
    return _EPOCH + value * _MICROSECOND


class InstantField(Field):  # type: ignore[type-arg]  # the stubs make it generic, Django does not
    """An instant. In Python it is what the project's DateTimeFields are, ``fold`` included."""

    def get_internal_type(self) -> str:
        """The column's type."""
        return "BigIntegerField"

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """See the class."""
        return None if value is None else stored_time(instant(int(value)))

    def to_python(self, value: Any) -> Any:
        """As a DateTimeField reads it, such as from a fixture."""
        return DateTimeField().to_python(value)

    def get_prep_value(self, value: Any) -> Any:
        """See the class; expressions, and numbers as the column holds them, stay as they are."""
        value = super().get_prep_value(value)
        return microseconds(aware(value)) if isinstance(value, datetime) else value

    def value_to_string(self, obj: Any) -> str:
        """As a DateTimeField is written to a fixture."""
        value = self.value_from_object(obj)
        return "" if value is None else value.isoformat()


class InstantNow(Func):
    """The database's now, in the form of an :class:`InstantField`'s column."""

    allowed_default = True
    arity = 0
    output_field = BigIntegerField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        """To the millisecond, which is what SQLite knows."""
        return self._said(
            "(CAST(STRFTIME('%s', 'NOW') AS INTEGER) * 1000000"
            " + CAST(SUBSTR(STRFTIME('%f', 'NOW'), 4) AS INTEGER) * 1000)"
        )

    def as_mysql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        """From the clock without a zone, so that none is asked for."""
        return self._said("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))")

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        """Exact, as EXTRACT is numeric since PostgreSQL 14."""
        return self._said("(EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP()) * 1000000)::bigint")

    def _said(self, statement: str) -> tuple[str, Any]:
        now = instead_of_now()
        if now is not None:
            return "%s", (microseconds(now),)
        return statement.replace("%", "%%"), ()
