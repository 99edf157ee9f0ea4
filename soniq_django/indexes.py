"""Indexes of some rows, on databases that can have them and on those that cannot (MySQL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.models import Index, Model, Q, UniqueConstraint


class PartialIndex(Index):
    """An index of the rows that meet a condition.

    Django's own would leave out the condition where it cannot be had, and say so at each ``check``.

    :param where: the condition
    :param otherwise: the fields of the index of all rows that stands in on databases without partial
        indexes; its first fields are such that the wanted rows lie together
    """

    def __init__(
        self,
        *,
        fields: Sequence[str],
        name: str,
        where: Q,
        otherwise: Sequence[str],
    ) -> None:
        super().__init__(fields=fields, name=name)
        self.where = where
        self.otherwise = list(otherwise)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """See :class:`django.db.models.Index`."""
        path, arguments, options = super().deconstruct()
        return path, arguments, {**options, "where": self.where, "otherwise": self.otherwise}

    def create_sql(
        self,
        model: type[Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Statement:
        """See :class:`django.db.models.Index`."""
        if schema_editor.connection.features.supports_partial_indexes:
            index = Index(fields=self.fields, name=self.name, condition=self.where)
        else:
            index = Index(fields=self.otherwise, name=self.name)
        return index.create_sql(model, schema_editor, using, **kwargs)


class UniqueWhereSet(UniqueConstraint):
    """No two rows have the same value in the field; any number have none.

    Where the database can, rows without a value take no room in the index, and no time to write.

    :param field: the field, which may be null
    """

    def __init__(self, *, field: str, name: str) -> None:
        super().__init__(fields=[field], name=name)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """See :class:`django.db.models.UniqueConstraint`."""
        path, arguments, _ = super().deconstruct()
        return path, arguments, {"field": self.fields[0], "name": self.name}

    def constraint_sql(
        self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None
    ) -> str:
        """See :class:`django.db.models.UniqueConstraint`."""
        return self._meant(schema_editor).constraint_sql(model, schema_editor)

    def create_sql(self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """See :class:`django.db.models.UniqueConstraint`."""
        return self._meant(schema_editor).create_sql(model, schema_editor)

    def remove_sql(self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """See :class:`django.db.models.UniqueConstraint`."""
        return self._meant(schema_editor).remove_sql(model, schema_editor)

    def _meant(self, schema_editor: BaseDatabaseSchemaEditor | None) -> UniqueConstraint:
        [field] = self.fields
        # To a unique index, NULLs differ from each other: the condition saves room and excludes nothing.
        assert schema_editor is not None  # noqa: S101  # Django's stubs allow None, Django does not
        partial = schema_editor.connection.features.supports_partial_indexes
        condition = Q(**{f"{field}__isnull": False}) if partial else None
        return UniqueConstraint(fields=[field], name=self.name, condition=condition)
