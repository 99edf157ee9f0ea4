"""django-tasks-db: rows of ``DBTaskResult`` that are READY. What was moved is deleted there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import MAXYEAR
from typing import Any

from django.db import router
from django.db.models import Q

from soniq_django.importing.locking import locked
from soniq_django.importing.rows import Row, Unmovable, Waiting
from soniq_django.times import aware

PRIORITY = 100


class ReadyResults:
    """See :class:`soniq_django.importing.rows.Source`."""

    what = "waiting tasks of django-tasks-db"

    def __init__(self) -> None:
        from django_tasks_db.models import DBTaskResult  # noqa: PLC0415  # of an app that need not be installed

        self._model = DBTaskResult
        self.alias = router.db_for_write(DBTaskResult)
        self._after: tuple[Any, Any] | None = None

    def count(self) -> int:
        """See the protocol."""
        return int(self._ready().count())

    def batch(self, limit: int) -> list[Row]:
        """See the protocol."""
        rows = self._ready().order_by("enqueued_at", "pk")
        if self._after is not None:
            when, key = self._after
            rows = rows.filter(Q(enqueued_at__gt=when) | Q(enqueued_at=when, pk__gt=key))
        found = list(locked(rows)[:limit])
        if found:
            self._after = (found[-1].enqueued_at, found[-1].pk)
        return [_row(one) for one in found]

    def take(self, rows: Sequence[Any]) -> int:
        """See the protocol."""
        return int(self._ready().filter(pk__in=rows).delete()[0])

    def _ready(self) -> Any:
        return self._model.objects.using(self.alias).filter(status="READY")


def _row(one: Any) -> Row:
    given = one.args_kwargs
    if not isinstance(given, dict) or not {"args", "kwargs"} <= given.keys():
        return Unmovable(
            row=one.pk, task=one.task_path, reason="its arguments are not what django-tasks-db writes"
        )
    return Waiting(
        row=one.pk,
        task=one.task_path,
        args=given["args"],
        kwargs=given["kwargs"],
        queue=None if one.queue_name == "default" else one.queue_name,
        priority=None if one.priority == 0 else PRIORITY - one.priority,
        # The year 9999 is how a task says "at once", so that it sorts after those with a time.
        scheduled_at=None if one.run_after.year >= MAXYEAR else aware(one.run_after),
    )
