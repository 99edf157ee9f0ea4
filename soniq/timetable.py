"""What every worker does for schedules: say what its code declares, and fire what is due.

Safe in any number of workers at once, because each change is guarded by the version that was seen: of
those who see a schedule due one fires it, and its next fire time and its jobs are one write.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from soniq import schedule_changes
from soniq.backend import StorageBackend
from soniq.declarations import Declaration
from soniq.job_options import EnqueueOptions
from soniq.jobs import NewJob
from soniq.logged import log_enqueued
from soniq.producer import JobProducer
from soniq.registry import Registry
from soniq.schedule_policy import decide, due_at
from soniq.schedule_records import Overlap, Schedule, ScheduleChange, ScheduleFilter, ScheduleSpec
from soniq.schedule_specs import spec_of
from soniq.settings import Settings
from soniq.steady import get_logger
from soniq.storage_line import AWAY
from soniq.visible import visible_line

logger = get_logger("soniq.scheduler")

Owed: TypeAlias = tuple[Schedule, ScheduleChange]

BATCH = 100  # schedules that are fired in one visit, and written in one transaction
ROUNDS = 5  # in which schedules are declared, while others change them at the same time


class Timetable:
    """The schedules, as one worker sees them. Its calls block, and come from one thread at a time.

    :param clock: monotonic seconds
    """

    def __init__(
        self,
        backend: StorageBackend,
        registry: Registry,
        producer: JobProducer,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._producer = producer
        self._settings = settings
        self._clock = clock
        self._declare_at = float("-inf")
        self._troubled: dict[str, str] = {}  # schedules that could not be fired, and what was said of it
        self._fired: list[tuple[NewJob, str]] = []

    def take_fired(self) -> list[tuple[NewJob, str]]:
        """The jobs that were made and not taken before, each with the id that the store answered."""
        fired, self._fired = self._fired, []
        return fired

    def visit(self) -> float | None:
        """Do what is due now; seconds until the next schedule is. None: there is none.

        0 or less: there is more to do. What cannot be fired is said once, and left for the next visit.
        """
        if self._clock() >= self._declare_at:
            self.declare()
            self._declare_at = self._clock() + schedule_changes.CONFIRM_EVERY
        where = self._mine()
        upcoming = self._backend.upcoming_schedules(where)
        if upcoming is None or upcoming > 0:
            return upcoming
        troubled = self.fire(where)
        return None if troubled else 0.0

    # -- declaring

    def declare(self) -> None:
        """Bring what code declares to the store; see :mod:`soniq.schedule_changes` for who wins."""
        specs = self._specs()
        declared = self._registry.declarations()
        for _ in range(ROUNDS):
            now = self._backend.now()
            known = {schedule.name: schedule for schedule in self._backend.list_schedules()}
            self._registry.learn({schedule.job_name for schedule in known.values()})
            changes = [schedule_changes.declare(spec, known.get(name), now) for name, spec in specs.items()]
            changes += [schedule_changes.retire(schedule, declared, now) for schedule in known.values()]
            # In one order for all workers, so that none waits for another in a circle.
            wanted = sorted(
                (change for change in changes if change is not None), key=lambda change: change.name
            )
            if not wanted or None not in self._backend.write_schedules(wanted):
                return

    def _specs(self) -> dict[str, ScheduleSpec]:
        """What code declares, as it is stored; what cannot be is said, and left out."""
        specs = {}
        for name, declared in self._registry.declarations().items():
            try:
                specs[name] = self._spec(declared)
            except Exception:  # code of the project, such as the class of an argument
                logger.exception("the schedule %r cannot be stored; it is left as it is", name)
        return specs

    def _spec(self, declared: Declaration) -> ScheduleSpec:
        task = declared.task
        return spec_of(
            declared.options,
            name=declared.name,
            job_name=task.name,
            args_json=self._producer.new_job(task, declared.args, EnqueueOptions()).args_json,
            queue=task.defaults.queue,
            priority=task.defaults.priority,
            timezone=self._settings.timezone,
        )

    def _mine(self) -> ScheduleFilter:
        return ScheduleFilter(
            job_names=frozenset(self._registry), declared=frozenset(self._registry.declarations())
        )

    # -- firing

    def fire(self, where: ScheduleFilter) -> bool:
        """Fire what is due. True: some of it could not be.

        :raises BackendUnavailable: doing so again is right; what was fired is fired
        :raises BackendConflict: the same
        """
        due = self._backend.due_schedules(where, limit=BATCH + len(self._troubled))
        now = self._backend.now()
        known, self._troubled = self._troubled, {}
        owed: list[Owed] = []
        for schedule in due:
            try:
                owed.append((schedule, self._owed(schedule, now)))
            except AWAY:
                raise
            except Exception as error:  # noqa: BLE001  # such as a row edited by hand; the others are fired
                self._trouble(schedule, error, known)
        self._write(owed, known)
        return bool(self._troubled)

    def _owed(self, schedule: Schedule, now: datetime) -> ScheduleChange:
        firing = decide(schedule, now, previous_live=self._previous_live(schedule))
        jobs = [
            self._producer.of_schedule(schedule, fire_time, due_at(schedule, fire_time, now))
            for fire_time in firing.fire_times
        ]
        return schedule_changes.fire(schedule, firing, jobs, now)

    def _write(self, owed: Sequence[Owed], known: Mapping[str, str]) -> None:
        """Write them in one go; one by one if the store refuses something among them."""
        if not owed:
            return
        try:
            answers = self._backend.write_schedules([change for _, change in owed])
        except AWAY:
            raise
        except Exception as error:  # noqa: BLE001  # such as a value that a column cannot hold
            if len(owed) == 1:
                self._trouble(owed[0][0], error, known)
                return
            for one in owed:
                self._write([one], known)
            return
        for (schedule, change), ids in zip(owed, answers, strict=True):
            if ids is not None:  # else another worker was quicker, or somebody has changed it
                self._note(schedule, change, ids)

    def _note(self, schedule: Schedule, change: ScheduleChange, ids: Sequence[str]) -> None:
        for job, stored_id in zip(change.jobs, ids, strict=True):
            if logger.isEnabledFor(logging.DEBUG):
                log_enqueued(job, stored_id)
            self._fired.append((job, stored_id))
        skipped = 0 if change.becomes is None else change.becomes.skipped - schedule.skipped
        if skipped:
            logger.info(
                "skipped   %s: %d fire times have no job",
                visible_line(schedule.name),
                skipped,
                extra={"schedule": schedule.name, "skipped": skipped},
            )

    def _trouble(self, schedule: Schedule, error: Exception, known: Mapping[str, str]) -> None:
        """Say once what keeps a schedule from being fired; again if it is something else."""
        self._troubled[schedule.name] = repr(error)
        if known.get(schedule.name) != repr(error):
            logger.error("the schedule %s cannot be fired", visible_line(schedule.name), exc_info=error)

    def _previous_live(self, schedule: Schedule) -> bool:
        """Whether the last run still waits or runs; asked only where that matters."""
        if schedule.overlap is not Overlap.SKIP or schedule.last_job_id is None:
            return False
        job = self._backend.get_job(schedule.last_job_id)
        return job is not None and job.status.live
