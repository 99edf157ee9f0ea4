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


class DatabaseNow(Now):
    """The database's now, as Django stores times there.

    Where columns hold no zone (SQLite, MySQL) that is in UTC, or in the zone that ``DATABASES`` or,
    without ``USE_TZ``, ``TIME_ZONE`` names. The zone's offset is that of the moment of the query.
    """

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        """With six digits, as Django writes its own times: SQLite compares them as text."""
        offset = _offset(connection)
        shift = f", '{offset:+d} seconds'" if offset else ""
        template = f"STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000', 'NOW'{shift})"
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_mysql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        """See the class."""
        offset = _offset(connection)
        template = f"(UTC_TIMESTAMP(6) + INTERVAL {offset:d} SECOND)" if offset else "UTC_TIMESTAMP(6)"
        return self.as_sql(compiler, connection, template=template, **extra)


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
