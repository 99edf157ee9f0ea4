"""Lists of tables that may hold millions of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

if TYPE_CHECKING:
    BasePaginator = Paginator[Any]
else:
    BasePaginator = Paginator

REACH = 10_000  # rows that a list pages through; further ones are found by filter and search


class ReachPaginator(BasePaginator):
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
        if not isinstance(rows, QuerySet):
            return len(rows)
        # Neither sorted nor with what the list computes per row: ids are all that is counted.
        return rows.order_by().values("pk")[: REACH + 1].count()


class TableChangeList(ChangeList):
    """A list whose admin says which columns it needs."""

    def get_queryset(self, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """See :meth:`soniq_django.admin.table.TableAdmin.for_list`."""
        rows: QuerySet[Any] = self.model_admin.for_list(super().get_queryset(*args, **kwargs))  # type: ignore[attr-defined]  # a TableAdmin
        return rows
