"""django-celery-beat: one-off tasks at a clock time become delayed jobs, other schedules become schedules.

What was moved is switched off there, and a running beat is told of the change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import router

from soniq import InvalidEnqueue
from soniq.schedule_specs import ScheduleKeywords
from soniq_django.celery.options import stored_priority
from soniq_django.importing.locking import locked
from soniq_django.importing.rows import Repeating, Row, Unmovable, Waiting, days_mean_either
from soniq_django.times import aware

OWN = "celery.backend_cleanup"  # which beat adds by itself, for Celery's results


class BeatTasks:
    """What the two sources share."""

    what = ""

    def __init__(self) -> None:
        from django_celery_beat import models  # noqa: PLC0415  # of an app that need not be installed

        self._models = models
        self.alias = router.db_for_write(models.PeriodicTask)
        self._after = 0

    def count(self) -> int:
        """See the protocol."""
        return int(self._meant().count())

    def batch(self, limit: int) -> list[Row]:
        """See the protocol."""
        rows = self._meant().filter(pk__gt=self._after).order_by("pk")
        found = list(locked(rows)[:limit])
        if found:
            self._after = found[-1].pk
        return [self._row(one) for one in found]

    def take(self, rows: Sequence[Any]) -> int:
        """See the protocol."""
        count: int = self._meant().filter(pk__in=rows).update(enabled=False)
        self._models.PeriodicTasks.update_changed()
        return count

    def _meant(self) -> Any:
        """What is looked at, and not switched off."""
        tasks = self._models.PeriodicTask.objects.using(self.alias)
        return tasks.filter(enabled=True).exclude(task=OWN)

    def _row(self, one: Any) -> Row:
        raise NotImplementedError


class ClockedTasks(BeatTasks):
    """See :class:`soniq_django.importing.rows.Source`."""

    what = "one-off tasks of django-celery-beat"

    def _meant(self) -> Any:
        # Not select_related: PostgreSQL locks no rows of an outer join.
        return super()._meant().filter(clocked__isnull=False).prefetch_related("clocked")

    def _row(self, one: Any) -> Row:
        return _row(one)


class Schedules(BeatTasks):
    """See :class:`soniq_django.importing.rows.Source`."""

    what = "schedules of django-celery-beat"

    def _meant(self) -> Any:
        rows = super()._meant().filter(clocked__isnull=True)
        return rows.prefetch_related("crontab", "interval", "solar")

    def _row(self, one: Any) -> Row:
        return _schedule(one)


def _row(one: Any) -> Row:
    try:
        args, kwargs = _arguments(one)
        priority = _priority(one)
    except (ValueError, InvalidEnqueue) as error:
        return _stays(one, str(error))
    if one.expires is not None or one.expire_seconds is not None:
        return _stays(one, "it expires, and a job of soniq does not; remove the expiry, or let beat send it")
    return Waiting(
        row=one.pk,
        task=one.task,
        args=args,
        kwargs=kwargs,
        queue=one.queue or None,
        priority=priority,
        scheduled_at=aware(one.clocked.clocked_time),
    )


def _schedule(one: Any) -> Row:
    try:
        args, kwargs = _arguments(one)
        priority = _priority(one)
        rule = _rule(one)
    except (ValueError, InvalidEnqueue) as error:
        return _stays(one, str(error))
    if one.one_off:
        return _stays(one, "it runs once and switches itself off, which a schedule here does not")
    if one.expire_seconds is not None:
        return _stays(one, "its tasks expire, and a job of soniq does not; max_age=, or no expiry, may do")
    if one.expires is not None:
        rule["ends_at"] = aware(one.expires)
    return Repeating(
        row=one.pk,
        name=one.name,
        task=one.task,
        args=args,
        kwargs=kwargs,
        queue=one.queue or None,
        priority=priority,
        rule=rule,
    )


def _rule(one: Any) -> ScheduleKeywords:
    """Its rule in soniq's words.

    :raises ValueError: there are none for it
    """
    starts_at = None if one.start_time is None else aware(one.start_time)
    if one.interval is not None:
        every = timedelta(**{one.interval.period: one.interval.every})
        if one.last_run_at is not None:  # the next run is so long after the last one, as it was there
            following = aware(one.last_run_at) + every
            starts_at = following if starts_at is None else max(starts_at, following)
        rule = ScheduleKeywords(every=every)
    elif one.crontab is not None:
        rule = ScheduleKeywords(cron=_cron(one.crontab), timezone=str(one.crontab.timezone))
    elif one.solar is not None:
        raise ValueError(f"it goes by the sun ({one.solar.event}), which soniq does not know")
    else:
        raise ValueError("it has no schedule")
    if starts_at is not None:
        rule["starts_at"] = starts_at
    return rule


def _cron(tab: Any) -> str:
    fields = (tab.minute, tab.hour, tab.day_of_month, tab.month_of_year, tab.day_of_week)
    cron = " ".join("".join(str(field).split()) for field in fields)  # Celery allows spaces behind commas
    if days_mean_either(cron):
        raise ValueError(
            f"{cron!r} names days of the month and of the week: Celery runs on days that are both, cron "
            "on those that are either; let the job look at the date, or write two schedules"
        )
    return cron


def _priority(one: Any) -> int | None:
    return None if one.priority is None else stored_priority(one.priority, InvalidEnqueue)


def _stays(one: Any, reason: str) -> Unmovable:
    return Unmovable(row=one.pk, task=one.task, reason=reason)


def _arguments(one: Any) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = json.loads(one.args or "[]"), json.loads(one.kwargs or "{}")
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ValueError("its arguments are no JSON list and object")  # noqa: TRY004  # as json.loads raises
    return args, kwargs
