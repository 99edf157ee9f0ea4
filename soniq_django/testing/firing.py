"""Schedules within a drain: fired as by a worker, when the drain gets to their times."""

from __future__ import annotations

from soniq.app import Soniq
from soniq.schedule_records import ScheduleFilter


class Firing:
    """Fires the schedules of an app. Its calls block.

    :param app: whose schedules; those that its code declares are stored first
    """

    def __init__(self, app: Soniq) -> None:
        self._app = app
        self._timetable = app.timetable()

    def fire(self) -> bool:
        """Fire what is due, and tell of the jobs as of any enqueue; whether anything was due."""
        due = False
        while (upcoming := self._timetable.visit()) is not None and upcoming <= 0:
            due = True
        fired = self._timetable.take_fired()
        if fired and self._app.audience.hears_enqueues:
            self._app.audience.enqueued([job for job, _ in fired], [stored_id for _, stored_id in fired])
        return due

    def next_due(self) -> float | None:
        """Seconds until a schedule fires next; None: none does."""
        registry = self._app.registry
        where = ScheduleFilter(job_names=frozenset(registry), declared=frozenset(registry.declarations()))
        return self._app.backend.upcoming_schedules(where)
