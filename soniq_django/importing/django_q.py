"""django-q2: packages of its ORM broker that no cluster holds, and schedules that run once.

What was moved is deleted there.
"""

from __future__ import annotations

import ast
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.signing import BadSignature
from django.db import router
from django.utils import timezone

from soniq_django.importing.locking import locked
from soniq_django.importing.pickles import PackageError, Serializer, foreign_path
from soniq_django.importing.rows import Recurring, Row, SourceError, Unmovable, Waiting, call_text
from soniq_django.times import aware

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


class OnceSchedules:
    """See :class:`soniq_django.importing.rows.Source`. With django-q, this is how a task is delayed."""

    what = "schedules of django-q that run once"

    def __init__(self) -> None:
        from django_q.models import Schedule  # noqa: PLC0415  # of an app that need not be installed

        self._model = Schedule
        self.alias = router.db_for_write(Schedule)
        self._after = 0

    def count(self) -> int:
        """See the protocol."""
        return int(self._once().count())

    def batch(self, limit: int) -> list[Row]:
        """See the protocol."""
        found = list(locked(self._once().filter(pk__gt=self._after).order_by("pk"))[:limit])
        if found:
            self._after = found[-1].pk
        return [_scheduled(one) for one in found]

    def take(self, rows: Sequence[Any]) -> int:
        """See the protocol."""
        return int(self._once().filter(pk__in=rows).delete()[0])

    def _once(self) -> Any:
        once = self._model.objects.using(self.alias).filter(schedule_type=self._model.ONCE)
        return once.exclude(repeats=0).exclude(next_run=None)


def recurring() -> Iterator[Recurring]:
    """All schedules that run more than once."""
    from django_q.models import Schedule  # noqa: PLC0415  # of an app that need not be installed

    for one in Schedule.objects.exclude(schedule_type=Schedule.ONCE).order_by("pk"):
        try:
            call = call_text(one.func, *_arguments(one))
        except ValueError:
            call = f"{one.func}({one.args or ''}; {one.kwargs or ''})"
        when = f"by cron {one.cron!r}" if one.schedule_type == Schedule.CRON else _every(one)
        yield Recurring(name=one.name or str(one.pk), call=call, when=when, enabled=one.repeats != 0)


def _scheduled(one: Any) -> Row:
    if one.hook:
        return Unmovable(row=one.pk, task=one.func, reason=HOOKS["hook"])
    try:
        args, kwargs = _arguments(one)
    except ValueError as error:
        return Unmovable(row=one.pk, task=one.func, reason=f"its arguments cannot be read: {error}")
    options = kwargs.pop("q_options", {})
    if one.intended_date_kwarg:
        kwargs[one.intended_date_kwarg] = one.next_run.isoformat()
    return Waiting(
        row=one.pk,
        task=one.func,
        args=args,
        kwargs=kwargs,
        queue=one.cluster or (options.get("cluster") if isinstance(options, Mapping) else None),
        scheduled_at=aware(one.next_run),
    )


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


def _every(one: Any) -> str:
    if one.schedule_type == "I":
        return f"every {one.minutes or 1} minutes"
    return str(one.get_schedule_type_display()).lower()
