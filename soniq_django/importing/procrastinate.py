"""procrastinate: jobs with the status ``todo``.

What was moved is ``cancelled`` there, with the event that procrastinate's triggers write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from soniq_django.importing.locking import locked
from soniq_django.importing.rows import Recurring, Row, Unmovable, Waiting

PRIORITY = 100
LOWEST = 1000


class TodoJobs:
    """See :class:`soniq_django.importing.rows.Source`.

    :param drop_locks: move jobs that hold a lock, too; they will run side by side
    """

    what = "waiting jobs of procrastinate"

    def __init__(self, *, drop_locks: bool = False) -> None:
        from procrastinate.contrib.django.models import (  # noqa: PLC0415  # of an app that need not be installed
            ProcrastinateJob,
        )
        from procrastinate.contrib.django.settings import settings  # noqa: PLC0415  # as above

        self._model = ProcrastinateJob
        self.alias: str = settings.DATABASE_ALIAS
        self._drop_locks = drop_locks
        self._after = 0

    def count(self) -> int:
        """See the protocol."""
        return int(self._todo().count())

    def batch(self, limit: int) -> list[Row]:
        """See the protocol."""
        found = list(locked(self._todo().filter(pk__gt=self._after).order_by("pk"))[:limit])
        if found:
            self._after = found[-1].pk
        return [self._row(one) for one in found]

    def take(self, rows: Sequence[Any]) -> int:
        """See the protocol."""
        return int(self._todo().filter(pk__in=rows).update(status="cancelled"))

    def _todo(self) -> Any:
        # A query set, because procrastinate's manager refuses to write.
        return self._model.objects.using(self.alias).filter(status="todo")

    def _row(self, one: Any) -> Row:
        if one.lock is not None and not self._drop_locks:
            return Unmovable(
                row=one.pk,
                task=one.task_name,
                reason="it holds a lock, by which procrastinate runs jobs one after the other; soniq has "
                "none. --drop-locks moves it without",
            )
        return Waiting(
            row=one.pk,
            task=one.task_name,
            kwargs=one.args,
            queue=None if one.queue_name == "default" else one.queue_name,
            priority=None if one.priority == 0 else min(LOWEST, max(0, PRIORITY - one.priority)),
            scheduled_at=one.scheduled_at,
            dedup_key=one.queueing_lock,
        )


def periodic() -> Iterator[Recurring]:
    """What is declared with ``@app.periodic``."""
    from procrastinate.contrib.django import app  # noqa: PLC0415  # of an app that need not be installed

    for one in app.periodic_registry.periodic_tasks.values():
        name = f"{one.task.name} {one.periodic_id}".strip()
        kwargs = one.configure_kwargs.get("task_kwargs") or {}
        given = ", ".join(["timestamp", *(f"{key}={value!r}" for key, value in kwargs.items())])
        yield Recurring(name=name, call=f"{one.task.name}({given})", when=f"by cron {one.cron!r}")
