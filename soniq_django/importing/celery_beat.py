"""django-celery-beat: one-off tasks at a clock time become delayed jobs, other schedules are told.

What was moved is switched off there, and a running beat is told of the change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import router

from soniq import InvalidEnqueue
from soniq_django.celery.options import stored_priority
from soniq_django.importing.locking import locked
from soniq_django.importing.rows import Recurring, Row, Unmovable, Waiting, call_text
from soniq_django.times import aware


class ClockedTasks:
    """See :class:`soniq_django.importing.rows.Source`."""

    what = "one-off tasks of django-celery-beat"

    def __init__(self) -> None:
        from django_celery_beat import models  # noqa: PLC0415  # of an app that need not be installed

        self._models = models
        self.alias = router.db_for_write(models.PeriodicTask)
        self._after = 0

    def count(self) -> int:
        """See the protocol."""
        return int(self._clocked().count())

    def batch(self, limit: int) -> list[Row]:
        """See the protocol."""
        rows = self._clocked().filter(pk__gt=self._after).order_by("pk")
        found = list(locked(rows)[:limit])
        if found:
            self._after = found[-1].pk
        return [_row(one) for one in found]

    def take(self, rows: Sequence[Any]) -> int:
        """See the protocol."""
        count: int = self._clocked().filter(pk__in=rows).update(enabled=False)
        self._models.PeriodicTasks.update_changed()
        return count

    def _clocked(self) -> Any:
        tasks = self._models.PeriodicTask.objects.using(self.alias)
        # Not select_related: PostgreSQL locks no rows of an outer join.
        return tasks.filter(enabled=True, clocked__isnull=False).prefetch_related("clocked")


def recurring() -> Iterator[Recurring]:
    """All that is neither moved nor over."""
    from django_celery_beat.models import PeriodicTask  # noqa: PLC0415  # of an app that need not be installed

    rows = PeriodicTask.objects.filter(clocked__isnull=True).select_related("crontab", "interval", "solar")
    for one in rows.order_by("name"):
        try:
            args, kwargs = _arguments(one)
            call = call_text(one.task, args, kwargs)
        except ValueError:
            call = f"{one.task}(?)"
        yield Recurring(name=one.name, call=call, when=_when(one), enabled=one.enabled)


def _row(one: Any) -> Row:
    def stays(reason: str) -> Unmovable:
        return Unmovable(row=one.pk, task=one.task, reason=reason)

    try:
        args, kwargs = _arguments(one)
        priority = None if one.priority is None else stored_priority(one.priority, InvalidEnqueue)
    except (ValueError, InvalidEnqueue) as error:
        return stays(str(error))
    if one.expires is not None or one.expire_seconds is not None:
        return stays("it expires, and a job of soniq does not; remove the expiry, or let beat send it")
    return Waiting(
        row=one.pk,
        task=one.task,
        args=args,
        kwargs=kwargs,
        queue=one.queue or None,
        priority=priority,
        scheduled_at=aware(one.clocked.clocked_time),
    )


def _arguments(one: Any) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = json.loads(one.args or "[]"), json.loads(one.kwargs or "{}")
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ValueError("its arguments are no JSON list and object")  # noqa: TRY004  # as json.loads raises
    return args, kwargs


def _when(one: Any) -> str:
    if one.crontab is not None:
        tab = one.crontab
        fields = (tab.minute, tab.hour, tab.day_of_month, tab.month_of_year, tab.day_of_week)
        return f"by cron {' '.join(fields)!r} in {tab.timezone}"
    if one.interval is not None:
        return f"every {one.interval.every} {one.interval.period}"
    if one.solar is not None:
        return f"at {one.solar.event}, {one.solar.latitude} {one.solar.longitude}"
    return "never: it has no schedule"
