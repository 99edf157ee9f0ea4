"""The table of schedules."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from soniq.errors import BackendError
from soniq.jobs import NewJob
from soniq.schedule_records import Schedule, ScheduleChange, ScheduleFilter

REQUIRED = ("job_name", "args_json", "timezone", "misfire", "overlap", "anchor_at", "created_at", "version")


class ScheduleTable:
    """Schedules by their names. Whoever calls holds the lock of the store."""

    def __init__(self) -> None:
        self._rows: dict[str, Schedule] = {}

    def named(self, names: Collection[str] | None) -> list[Schedule]:
        """Those of these names, by name; None = all."""
        return [row for name, row in sorted(self._rows.items()) if names is None or name in names]

    def due(self, where: ScheduleFilter, now: datetime, limit: int) -> list[Schedule]:
        """The first of those whose time has come."""
        due = ((at, row.name, row) for at, row in self._waiting(where) if at <= now)
        return [row for _, _, row in heapq.nsmallest(max(limit, 0), due, key=lambda one: one[:2])]

    def next_due(self, where: ScheduleFilter) -> datetime | None:
        """When the next of them fires."""
        return min((at for at, _ in self._waiting(where)), default=None)

    def holding(self, changes: Sequence[ScheduleChange]) -> list[bool]:
        """Of each change whether its guard holds once those before it were written. Nothing is written.

        :raises BackendError: one of them lacks a value
        """
        after: dict[str, int | None] = {name: row.version for name, row in self._rows.items()}
        answers = []
        for change in changes:
            holds = after.get(change.name) == change.seen
            if holds:
                _refuse_broken(change)
                after[change.name] = None if change.becomes is None else change.becomes.version
            answers.append(holds)
        return answers

    def write(self, change: ScheduleChange, job_ids: Sequence[str]) -> None:
        """Write a change whose guard holds, and whose jobs were stored under these ids."""
        if change.becomes is None:
            self._rows.pop(change.name, None)
        else:
            last = job_ids[-1] if job_ids else change.becomes.last_job_id
            self._rows[change.name] = replace(change.becomes, last_job_id=last)

    def _waiting(self, where: ScheduleFilter) -> Iterator[tuple[datetime, Schedule]]:
        for row in self._rows.values():
            known = where.job_names is None or row.job_name in where.job_names
            mine = where.declared is None or not row.declared or row.name in where.declared
            if row.next_fire_at is not None and known and mine:
                yield row.next_fire_at, row


def jobs_of(changes: Sequence[ScheduleChange], holding: Sequence[bool]) -> list[NewJob]:
    """The jobs of the changes that are written."""
    return [job for change, holds in zip(changes, holding, strict=True) if holds for job in change.jobs]


def _refuse_broken(change: ScheduleChange) -> None:
    """Raise before anything is written, which is how all or nothing is kept."""
    for column in REQUIRED:
        if change.becomes is not None and getattr(change.becomes, column) is None:
            raise BackendError(f"schedule {change.name!r} has no {column}; nothing was written")
