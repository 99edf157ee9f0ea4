"""A JSON column that also takes text that is JSON already."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import JSONField


class JSONText(str):
    """JSON that was encoded and checked before; it goes to the database as it is."""

    __slots__ = ()


class StoredJSONField(JSONField):
    """A ``JSONField`` that does not encode a :class:`JSONText` a second time.

    Text that Python cannot read, such as a row that others wrote with a number of 5,000 digits, is given as
    it stands: see :func:`soniq.backends.stored.decoded`.
    """

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """See the class."""
        if isinstance(value, JSONText):
            return str(value)
        return super().get_db_prep_value(value, connection, prepared)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """See the class."""
        try:
            return super().from_db_value(value, expression, connection)
        except (ValueError, RecursionError):
            return value
