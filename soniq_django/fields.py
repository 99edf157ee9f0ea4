"""A JSON column that also takes text that is JSON already, and text that equals nothing but itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, JSONField, TextField
from django.db.models.lookups import IContains
from django.db.models.sql.compiler import SQLCompiler


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


class Exact:
    """A text field whose values are equal only if they are the same, to the case and the last space.

    MySQL compares text as its database was made to, by default so that "A", "a" and "a " are the same
    queue. The collation also makes the column take all of Unicode, whatever its database was made for.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        """See the class."""
        parameters: dict[str, Any] = super().db_parameters(connection)  # type: ignore[misc]  # a field's
        if connection.vendor != "mysql":
            return parameters
        # utf8mb4_bin, which both have, does not see spaces at the end.
        mariadb = getattr(connection, "mysql_is_mariadb", False)
        return {**parameters, "collation": "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"}


if TYPE_CHECKING:
    # The stubs' plugin tells a column's type from these names.
    ExactCharField = CharField
    ExactTextField = TextField
else:

    class ExactCharField(Exact, CharField):
        """See :class:`Exact`."""

    class ExactTextField(Exact, TextField):
        """See :class:`Exact`."""


@ExactCharField.register_lookup
class ContainsInAnyCase(IContains):
    """``icontains``, which on MySQL is what the column's collation says."""

    def as_mysql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        """In a collation that does not tell upper from lower case."""
        column, parameters = self.process_lhs(compiler, connection)
        text, more = self.process_rhs(compiler, connection)
        return f"{column} COLLATE utf8mb4_general_ci LIKE {text}", [*parameters, *more]
