"""The clock of the database, in a form that every vendor understands alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler
from django.utils.timezone import get_default_timezone

from soniq_django.clock import instead_of_now
from soniq_django.times import stored_time

# A text is compared as a time only where the statement says that it is one.
_LITERALS = {"mysql": "CAST(%s AS DATETIME(6))", "postgresql": "%s::timestamptz"}


class DatabaseNow(Now):
    """The database's now, as Django stores times there.

    Where columns hold no zone (SQLite, MySQL) that is in UTC, or in the zone that ``DATABASES`` or,
    without ``USE_TZ``, ``TIME_ZONE`` names. The zone's offset is that of the moment of the query.
    """

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        """With six digits, as Django writes its own times: SQLite compares them as text."""
        if (instant := instead_of_now()) is not None:
            return _literal(instant, connection)
        offset = _offset(connection)
        shift = f", '{offset:+d} seconds'" if offset else ""
        template = f"STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000', 'NOW'{shift})"
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_mysql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        """See the class."""
        if (instant := instead_of_now()) is not None:
            return _literal(instant, connection)
        offset = _offset(connection)
        template = f"(UTC_TIMESTAMP(6) + INTERVAL {offset:d} SECOND)" if offset else "UTC_TIMESTAMP(6)"
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        """See the class."""
        if (instant := instead_of_now()) is not None:
            return _literal(instant, connection)
        return super().as_postgresql(compiler, connection, **extra)


def _literal(instant: datetime, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
    """The instant as a value of the statement, in the form of the database's columns."""
    value = connection.ops.adapt_datetimefield_value(stored_time(instant))
    return _LITERALS.get(connection.vendor, "%s"), (value,)


def _offset(connection: BaseDatabaseWrapper) -> int:
    """Seconds from UTC to the zone in which the connection stores times, now."""
    zone = connection.timezone or get_default_timezone()
    offset = datetime.now(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def from_now(seconds: float) -> Combinable:
    """The instant ``seconds`` after (negative: before) the database's now."""
    if not seconds:
        return DatabaseNow()
    return ExpressionWrapper(DatabaseNow() + timedelta(seconds=seconds), output_field=DateTimeField())
