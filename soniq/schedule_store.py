"""The part of the storage contract that keeps schedules.

The storage does no arithmetic of fire times and knows no policy: :mod:`soniq.schedules` and
:mod:`soniq.schedule_changes` decide, and what they decided is written here, guarded by the version that
was seen. So any number of workers, and people who edit schedules meanwhile, may write at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from soniq.schedule_records import Schedule, ScheduleChange, ScheduleFilter


class ScheduleStore(Protocol):
    """Where schedules are kept. See :class:`soniq.backend.StorageBackend`, of which this is a part."""

    def now(self) -> datetime:
        """The time by the clock of the store, aware: the one by which schedules are due."""
        ...

    def list_schedules(self, names: Collection[str] | None = None) -> list[Schedule]:
        """The schedules of these names, ordered by name; None = all, empty = none."""
        ...

    def due_schedules(self, where: ScheduleFilter, *, limit: int) -> list[Schedule]:
        """The first ``limit`` schedules whose ``next_fire_at`` has come, in order of (next_fire_at, name).

        Takes nothing: who is first to write what becomes of them fires them.
        """
        ...

    def upcoming_schedules(self, where: ScheduleFilter) -> float | None:
        """Seconds until the next schedule is due (0 or less: one is due now); None without any.

        Every worker asks now and then, so it costs no more than a look into an index.
        """
        ...

    def write_schedules(self, changes: Sequence[ScheduleChange]) -> list[list[str] | None]:
        """Write ``changes`` in one transaction; say of each whether its guard held.

        The only method that writes schedules. None: the guard did not hold (somebody else has changed,
        added or removed the schedule), and nothing was written for it, none of its jobs either. Of several
        writers that saw the same version, one succeeds.

        A list: the change was written, and its jobs were stored as :meth:`StorageBackend.enqueue` stores
        them; the list is what that answers (the id of each job, or of the live job that holds its key).
        ``becomes`` is written as it stands, except that with jobs ``last_job_id`` becomes the last
        id of this list. A value that the store refuses is an error; then nothing of the call is written.
        """
        ...
