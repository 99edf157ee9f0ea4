"""django-q2: packages of its ORM broker that no cluster holds, and schedules.

What was moved is deleted there.
"""

from __future__ import annotations

import ast
import zlib
from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.core.signing import BadSignature
from django.db import router
from django.utils import timezone

from soniq.schedule_specs import ScheduleKeywords
from soniq_django.importing.locking import locked
from soniq_django.importing.pickles import PackageError, Serializer, foreign_path
from soniq_django.importing.rows import Repeating, Row, SourceError, Unmovable, Waiting, days_mean_either
from soniq_django.times import aware

COMMON_YEAR = 2023  # any that is no leap year
_MONTHS = {"M": 1, "BM": 2, "Q": 3, "Y": 12}  # between two runs
_FIXED = ("UTC", "GMT")  # time zones whose clocks never change; all of Etc/ are such
HOOKS = {
    "hook": "it has a hook, which django-q calls with the result; call that at the end of the job",
    "chain": "it is part of a chain; let the job enqueue the next one as its last step",
    "iter_count": "it is part of an iteration, whose results django-q collects",
}


class Packages:
    """See :class:`soniq_django.importing.rows.Source`."""

    what = "waiting tasks of django-q"

    def __init__(self) -> None:
        from django_q.conf import Conf  # noqa: PLC0415  # of an app that need not be installed
        from django_q.models import OrmQ  # noqa: PLC0415  # as above

        if not Conf.ORM:
            raise SourceError(
                "Q_CLUSTER has no 'orm': django-q keeps its tasks in another broker, which is not read here. "
                "Let its cluster finish them"
            )
        self._model = OrmQ
        self._conf = Conf
        self.alias: str = Conf.ORM
        self._after = 0
        self._now = timezone.now()

    def count(self) -> int:
        """See the protocol."""
        return int(self._free().count())

    def batch(self, limit: int) -> list[Row]:
        """See the protocol."""
        found = list(locked(self._free().filter(pk__gt=self._after).order_by("pk"))[:limit])
        if found:
            self._after = found[-1].pk
        return [self._row(one) for one in found]

    def take(self, rows: Sequence[Any]) -> int:
        """See the protocol."""
        return int(self._free().filter(pk__in=rows).delete()[0])

    def _free(self) -> Any:
        # A cluster that runs a task holds its row by a time to come.
        return self._model.objects.using(self.alias).filter(lock__lte=self._now)

    def _row(self, one: Any) -> Row:
        from django_q import core_signing  # noqa: PLC0415  # of an app that need not be installed

        def stays(reason: str, task: str = "(unreadable)") -> Unmovable:
            return Unmovable(row=one.pk, task=task, reason=reason)

        try:
            package = core_signing.loads(
                one.payload, key=self._conf.SECRET_KEY, salt=self._conf.PREFIX, serializer=Serializer
            )
        except BadSignature:
            return stays(
                "it was not signed with this project's SECRET_KEY and Q_CLUSTER['name'], so it is not read"
            )
        except (PackageError, ValueError, zlib.error) as error:
            return stays(f"its package is damaged: {error}")
        if not isinstance(package, dict) or not {"func", "args", "kwargs"} <= package.keys():
            return stays("its package is not what django-q writes")
        func = package["func"]
        task = func if isinstance(func, str) else foreign_path(func) or repr(func)
        for option, reason in HOOKS.items():
            if package.get(option):
                return stays(reason, task)
        foreign = foreign_path([package["args"], package["kwargs"]])
        if foreign is not None:
            return stays(f"its arguments hold a {foreign}, which was pickled; pass plain values", task)
        queue = package.get("cluster") or one.key
        return Waiting(
            row=one.pk,
            task=task,
            args=package["args"],
            kwargs=package["kwargs"],
            queue=None if queue in (self._conf.PREFIX, self._conf.CLUSTER_NAME) else queue,
        )


class Schedules:
    """See :class:`soniq_django.importing.rows.Source`. With django-q, one that runs once delays a task."""

    what = "schedules of django-q"

    def __init__(self) -> None:
        from django_q.models import Schedule  # noqa: PLC0415  # of an app that need not be installed

        self._model = Schedule
        self.alias = router.db_for_write(Schedule)
        self._after = 0

    def count(self) -> int:
        """See the protocol."""
        return int(self._going().count())

    def batch(self, limit: int) -> list[Row]:
        """See the protocol."""
        found = list(locked(self._going().filter(pk__gt=self._after).order_by("pk"))[:limit])
        if found:
            self._after = found[-1].pk
        return [_scheduled(one) for one in found]

    def take(self, rows: Sequence[Any]) -> int:
        """See the protocol."""
        return int(self._going().filter(pk__in=rows).delete()[0])

    def _going(self) -> Any:
        """Those that will run again."""
        return self._model.objects.using(self.alias).exclude(repeats=0).exclude(next_run=None)


def _scheduled(one: Any) -> Row:
    if one.hook:
        return Unmovable(row=one.pk, task=one.func, reason=HOOKS["hook"])
    try:
        args, kwargs = _arguments(one)
    except ValueError as error:
        return Unmovable(row=one.pk, task=one.func, reason=f"its arguments cannot be read: {error}")
    options = kwargs.pop("q_options", {})
    queue = one.cluster or (options.get("cluster") if isinstance(options, Mapping) else None)
    if one.schedule_type != "O":
        return _repeating(one, args, kwargs, queue)
    if one.intended_date_kwarg:
        kwargs[one.intended_date_kwarg] = one.next_run.isoformat()
    return Waiting(
        row=one.pk,
        task=one.func,
        args=args,
        kwargs=kwargs,
        queue=queue,
        scheduled_at=aware(one.next_run),
    )


def _repeating(one: Any, args: Sequence[Any], kwargs: Mapping[str, Any], queue: str | None) -> Row:
    if one.repeats > 0:
        reason = f"it runs {one.repeats} times more, and a schedule here has no number; ends_at= may do"
        return Unmovable(row=one.pk, task=one.func, reason=reason)
    if one.intended_date_kwarg:
        reason = (
            f"it passes its time as {one.intended_date_kwarg!r}; let the job take it from "
            "JobContext.scheduled_for"
        )
        return Unmovable(row=one.pk, task=one.func, reason=reason)
    try:
        rule = _rule(one)
    except ValueError as error:
        return Unmovable(row=one.pk, task=one.func, reason=str(error))
    return Repeating(
        row=one.pk,
        name=one.name or f"{one.func} {one.pk}",
        task=one.func,
        args=args,
        kwargs=kwargs,
        queue=queue,
        rule=rule,
    )


def _rule(one: Any) -> ScheduleKeywords:
    """Its rule in soniq's words. It goes on with the next run that django-q had in mind.

    :raises ValueError: there are none for it
    """
    from django_q.conf import Conf  # noqa: PLC0415  # of an app that need not be installed

    next_run = aware(one.next_run)
    if one.schedule_type in ("I", "H"):
        minutes = (one.minutes or 1) if one.schedule_type == "I" else 60
        return ScheduleKeywords(every=timedelta(minutes=minutes), starts_at=next_run)
    # What django-q counts in days is at the same time of the day by the local clock.
    local = next_run.astimezone(ZoneInfo(Conf.TIME_ZONE))
    at = f"{local.minute} {local.hour}"
    months = _MONTHS.get(one.schedule_type)
    if one.schedule_type == "C":
        cron = str(one.cron)
        if _starred_days(cron):
            raise ValueError(
                f"{cron!r} means days that are either for django-q, and both for cron; write two"
            )
    elif one.schedule_type == "D":
        cron = f"{at} * * *"
    elif one.schedule_type == "W":
        cron = f"{at} * * {local.isoweekday() % 7}"
    elif months is not None:
        cron = f"{at} {_day_of_months(next_run, local, months)} *"
    elif one.schedule_type == "BW" and _is_fixed(Conf.TIME_ZONE):
        return ScheduleKeywords(every=timedelta(days=14), starts_at=next_run)
    elif one.schedule_type == "BW":
        raise ValueError(
            f"it runs every second week by the clock of {Conf.TIME_ZONE}, which no rule says; let a weekly "
            "one do nothing every other week, or use every=timedelta(days=14), which moves with the clock"
        )
    else:
        raise ValueError(f"its type {one.schedule_type!r} is none that django-q had; declare it anew")
    return ScheduleKeywords(
        cron=cron, timezone=Conf.TIME_ZONE, starts_at=next_run.replace(second=0, microsecond=0)
    )


def _day_of_months(next_run: datetime, local: datetime, months: int) -> str:
    """The day and the months in cron's words: "15 1,4,7,10".

    django-q counts the months by UTC, and stays on the earlier day once one was too short.

    :raises ValueError: it would not be the same day for ever
    """
    meant = sorted({(local.month - 1 + later) % 12 + 1 for later in range(0, 12, months)})
    shortest = min(monthrange(COMMON_YEAR, month)[1] for month in meant)
    if max(local.day, next_run.day) > shortest or local.month != next_run.month:
        raise ValueError(
            f"it runs at the end of months, on day {local.day}, and django-q takes another day after a month "
            "that is shorter; declare it with the day that you mean, or with cron's L for the last one"
        )
    return f"{local.day} {','.join(map(str, meant)) if months > 1 else '*'}"


def _is_fixed(timezone: str) -> bool:
    return timezone in _FIXED or timezone.startswith("Etc/")


def _starred_days(cron: str) -> bool:
    """Whether both kinds of days are named and one begins with a star, as in "0 3 */2 * 1"."""
    fields = cron.split()
    named = len(fields) == 5 and fields[2] != "*" and fields[4] != "*"  # noqa: PLR2004  # cron's
    return named and not days_mean_either(cron)


def _arguments(one: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """As django-q's scheduler reads them.

    :raises ValueError: they are not made of literals; django-q would drop such keywords without a word
    """
    try:
        args = ast.literal_eval(one.args) if one.args else ()
        kwargs = _keywords(one.kwargs) if one.kwargs else {}
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(kwargs, dict):
        raise ValueError(f"{one.kwargs!r} is no dict")  # noqa: TRY004  # as literal_eval raises
    return args if isinstance(args, tuple) else (args,), kwargs


def _keywords(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError(f"{text!r} is no list of keywords") from None
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
