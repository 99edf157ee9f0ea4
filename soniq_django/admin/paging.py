"""Lists of tables that may hold millions of rows."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

REACH = 10_000  # rows that a list pages through; further ones are found by filter and search


class ReachPaginator(Paginator[Any]):
    """Counts no further than :data:`REACH`, so the number of rows in the table costs nothing."""

    @cached_property
    def count(self) -> int:
        """How many rows the list pages through."""
        return min(self._counted, REACH)

    @cached_property
    def is_cut(self) -> bool:
        """Whether there are more rows than the list pages through."""
        return self._counted > REACH

    @cached_property
    def _counted(self) -> int:
        rows = self.object_list
        return rows.order_by()[: REACH + 1].count() if isinstance(rows, QuerySet) else len(rows)


class TableChangeList(ChangeList):
    """A list whose admin says which columns it needs."""

    def get_queryset(self, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """See :meth:`soniq_django.admin.table.TableAdmin.for_list`."""
        rows: QuerySet[Any] = self.model_admin.for_list(super().get_queryset(*args, **kwargs))  # type: ignore[attr-defined]  # a TableAdmin
        return rows
