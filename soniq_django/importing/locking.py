"""Row locks, as far as a database has them."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import connections
from django.db.models import QuerySet

Q = TypeVar("Q", bound="QuerySet[Any]")


def locked(rows: Q) -> Q:
    """The rows that nobody else holds, locked until the transaction ends.

    SQLite has one writer at a time: there, the count of rows that were taken tells of a change meanwhile.
    """
    features = connections[rows.db].features
    if not features.has_select_for_update:
        return rows
    return rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
