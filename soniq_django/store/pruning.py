"""Removing what is finished, for people who say how old it has to be.

Batch by batch, each in a transaction of its own that is short, and skips rows that others hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.db.models import QuerySet

from soniq_django.functions import DatabaseNow, from_now
from soniq_django.models import DeadLetterJob, Job
from soniq_django.store.tables import Tables

BATCH = 1000
FINISHED = (Job.Status.DONE, Job.Status.CANCELLED)


def expired(tables: Tables, statuses: Collection[str] = FINISHED) -> QuerySet[Job]:
    """Finished jobs past their time."""
    return tables.jobs.filter(expires_at__lte=DatabaseNow(), status__in=statuses)


def finished_before(tables: Tables, seconds: float, statuses: Collection[str] = FINISHED) -> QuerySet[Job]:
    """Jobs that finished at least so many seconds ago."""
    return tables.jobs.filter(finished_at__lte=from_now(-seconds), status__in=statuses)


def letters_before(tables: Tables, seconds: float) -> QuerySet[DeadLetterJob]:
    """Dead letters that are at least so many seconds old."""
    return tables.dead_letters.filter(moved_to_dead_letter_at__lte=from_now(-seconds))


def remove(tables: Tables, rows: QuerySet[Any], *, batch: int = BATCH) -> Iterator[int]:
    """Delete the rows; give how many went after each batch."""
    while gone := tables.delete_some(rows, batch):
        yield gone


def remove_by_id(tables: Tables, rows: QuerySet[Any], *, batch: int = BATCH) -> Iterator[int]:
    """:func:`remove` for rows that no index finds: one walk through the table, in order of the ids.

    Each batch begins behind the last one, not among what that has deleted.
    """
    after: Any = None
    while True:
        found = rows.order_by("pk") if after is None else rows.filter(pk__gt=after).order_by("pk")
        with tables.transaction():
            tables.lock_database()
            ids = list(tables.locked(found, skip=True).values_list("pk", flat=True)[:batch])
            if not ids:
                return
            gone = tables.jobs.filter(pk__in=ids).delete()[0]
        yield gone
        after = ids[-1]
