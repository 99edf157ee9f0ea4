"""The schedules table: written by who saw it last, together with the jobs of what fired."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.sql import Query

from soniq.schedule_records import Schedule as ScheduleRecord
from soniq.schedule_records import ScheduleChange, ScheduleFilter
from soniq_django.instants import InstantNow, instant
from soniq_django.models import Schedule
from soniq_django.store.errors import translated
from soniq_django.store.hot import HotPath
from soniq_django.store.schedule_rows import columns_of, schedule_record
from soniq_django.times import aware


class ScheduleTable(HotPath):
    """See :class:`soniq.schedule_store.ScheduleStore`."""

    def now(self) -> datetime:
        """See :class:`soniq.schedule_store.ScheduleStore`."""
        with translated(self.alias), self.connection.cursor() as cursor:
            statement, values = Query(None).get_compiler(self.alias).compile(InstantNow())
            cursor.execute(f"SELECT {statement}", values)
            return instant(int(cursor.fetchone()[0]))

    def list_schedules(self, names: Collection[str] | None = None) -> list[ScheduleRecord]:
        """See :class:`soniq.schedule_store.ScheduleStore`."""
        found = self.schedules if names is None else self.schedules.filter(pk__in=list(names))
        with translated(self.alias):
            records = [schedule_record(row) for row in found]
        return sorted(records, key=lambda one: one.name)  # databases sort by alphabets of their own

    def due_schedules(self, where: ScheduleFilter, *, limit: int) -> list[ScheduleRecord]:
        """See :class:`soniq.schedule_store.ScheduleStore`."""
        due = self._waiting(where).filter(next_fire_at__lte=InstantNow()).order_by("next_fire_at", "name")
        with translated(self.alias):
            return [schedule_record(row) for row in due[: max(limit, 0)]]

    def upcoming_schedules(self, where: ScheduleFilter) -> float | None:
        """See :class:`soniq.schedule_store.ScheduleStore`."""
        waiting = self._waiting(where).order_by("next_fire_at")
        with translated(self.alias):
            found = waiting.values_list("next_fire_at", InstantNow())[:1]
            return next(((aware(due) - instant(now)).total_seconds() for due, now in found), None)

    def write_schedules(self, changes: Sequence[ScheduleChange]) -> list[list[str] | None]:
        """See :class:`soniq.schedule_store.ScheduleStore`."""
        if not changes:
            return []
        return self._statements.despite_deadlocks(partial(self._write, changes))

    def _write(self, changes: Sequence[ScheduleChange]) -> list[list[str] | None]:
        with self.transaction():
            self.lock_database()
            self._lock_in_order(changes)
            held = [self._written(change) for change in changes]
            jobs = [job for change, holds in zip(changes, held, strict=True) if holds for job in change.jobs]
            # Not enqueue(), which would let jobs wait for a transaction of another database.
            ids = iter(self._enqueue(jobs) if jobs else ())
            answers = [
                [next(ids) for _ in change.jobs] if holds else None
                for change, holds in zip(changes, held, strict=True)
            ]
            self._note_holders(changes, answers)
            return answers

    def _waiting(self, where: ScheduleFilter) -> QuerySet[Schedule]:
        """Those that fire some time, and that a worker may fire."""
        waiting = self.schedules.filter(next_fire_at__isnull=False)
        if where.job_names is not None:
            waiting = waiting.filter(job_name__in=sorted(where.job_names))
        if where.declared is not None:
            waiting = waiting.filter(Q(declared=False) | Q(name__in=sorted(where.declared)))
        return waiting

    def _lock_in_order(self, changes: Sequence[ScheduleChange]) -> None:
        """Lock what is there in one order, so that writers of the same schedules wait in line."""
        if len(changes) > 1:
            names = {change.name for change in changes}
            list(self.locked(self.schedules.filter(pk__in=sorted(names)).order_by("pk")).values_list("pk"))

    def _written(self, change: ScheduleChange) -> bool:
        """Write a change, but not its jobs; whether its guard held."""
        if change.seen is None:
            return change.becomes is not None and self._added(_columns(change, change.becomes))
        seen = self.schedules.filter(pk=change.name, version=change.seen)
        if change.becomes is None:
            return seen.delete()[0] > 0
        return seen.update(**_columns(change, change.becomes)) > 0

    def _added(self, columns: dict[str, object]) -> bool:
        there = self.schedules.filter(pk=columns["name"])
        if there.exists():
            return False
        try:
            with transaction.atomic(using=self.alias):
                Schedule(**columns).save(using=self.alias, force_insert=True)
        except IntegrityError:
            # Somebody was quicker; or else a value is refused. Locked, for the latest state of the row.
            if self.locked(there).values_list("pk").first() is None:
                raise
            return False
        return True

    def _note_holders(self, changes: Sequence[ScheduleChange], answers: Sequence[list[str] | None]) -> None:
        """Where a live job stands for the last one that a change made, it is the schedule's last."""
        written = {
            change.name: (change, ids)
            for change, ids in zip(changes, answers, strict=True)
            if ids is not None  # of several that a schedule had in this call, the last
        }
        for change, ids in written.values():
            if ids and change.becomes is not None and ids[-1] != change.jobs[-1].id:
                self.schedules.filter(pk=change.name).update(last_job_id=ids[-1])


def _columns(change: ScheduleChange, becomes: ScheduleRecord) -> dict[str, object]:
    """What a change writes, the last of its jobs included."""
    columns = columns_of(becomes)
    if change.jobs:
        columns["last_job_id"] = change.jobs[-1].id
    return columns
