"""The scheduler service: make schedules at run time, look at them, steer them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias, Unpack

from soniq import schedule_changes
from soniq.backend import Run, StorageBackend
from soniq.errors import BackendConflict, ConfigurationError, ScheduleNotFound
from soniq.job_maker import Target, behind
from soniq.job_options import EnqueueOptions
from soniq.producer import JobProducer
from soniq.schedule_records import Schedule, ScheduleChange, ScheduleStatus
from soniq.schedule_specs import ScheduleKeywords, spec_of
from soniq.settings import Settings
from soniq.task import Task, TaskRef

Schedules: TypeAlias = list[Schedule]  # "list" is a method of the service
JobIds: TypeAlias = list[str]

ROUNDS = 20  # in which a change is tried, while others change the same schedule


class SchedulerService:
    """``app.scheduler``. Every async method works on the store of its app, and has a sync twin.

    :param ready: called before each sync use: sets the store up, or refuses because the app is closed
    :param run: makes a blocking call for async code, once the store is ready
    """

    def __init__(
        self,
        backend: StorageBackend,
        producer: JobProducer,
        settings: Settings,
        *,
        ready: Callable[[], None],
        run: Run,
    ) -> None:
        self._backend = backend
        self._producer = producer
        self._settings = settings
        self._ready = ready
        self._run = run

    def on(self, backend: StorageBackend) -> SchedulerService:
        """The same service, for the schedules of another store."""
        return SchedulerService(backend, self._producer, self._settings, ready=self._ready, run=backend.run)

    # -- making

    async def add(
        self,
        target: Target,
        *,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        name: str | None = None,
        **options: Unpack[ScheduleKeywords],
    ) -> str:
        """Have a job enqueued again and again; return the schedule's name.

        Under a name that is there already, the schedule becomes what is given now; if it is the same,
        nothing happens, so a program may add its schedules each time it starts. One that code declares is
        overridden: from then on the code changes it no more. A paused one stays paused.

        :param target: a job, the name of one, or a TaskRef
        :param args: what the job is called with
        :param queue: default: what the job says when it fires; the same for ``priority``
        :param name: default: the name of the job
        :param options: the rule and the policies, see :class:`soniq.schedule_specs.ScheduleKeywords`
        :raises InvalidSchedule: the rule, the time zone or a policy is impossible
        :raises UnknownTask: no such job
        :raises InvalidArguments: they do not fit the job or cannot be stored
        :raises InvalidEnqueue: queue or priority is impossible
        :raises InvalidJob: a task of Django's Tasks has options of its own that a schedule cannot keep
        """
        return await self._run(
            self.add_now, target, args=args, queue=queue, priority=priority, name=name, **options
        )

    def add_now(
        self,
        target: Target,
        *,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        name: str | None = None,
        **options: Unpack[ScheduleKeywords],
    ) -> str:
        """:meth:`add` on the calling thread, within its transaction."""
        self._ready()
        target = behind(target)
        job = self._producer.new_job(
            target, {} if args is None else args, EnqueueOptions(queue=queue, priority=priority)
        )
        says = _says(target)
        spec = spec_of(
            options,
            name=job.job_name if name is None else name,
            job_name=job.job_name,
            args_json=job.args_json,
            queue=says.queue if queue is None else queue,
            priority=says.priority if priority is None else priority,
            timezone=self._settings.timezone,
        )
        self._change(spec.name, lambda known, now: schedule_changes.add(spec, known, now))
        return spec.name

    # -- steering

    async def pause(self, name: str) -> bool:
        """Let it fire no more until :meth:`resume`. False: there is no schedule of this name."""
        return await self._run(self.pause_now, name)

    def pause_now(self, name: str) -> bool:
        """:meth:`pause` on the calling thread, within its transaction."""
        self._ready()
        return self._change_known(name, schedule_changes.pause)

    async def resume(self, name: str) -> bool:
        """Let it fire again, from now on: what it would have fired meanwhile is not made up for.

        False: there is no schedule of this name.
        """
        return await self._run(self.resume_now, name)

    def resume_now(self, name: str) -> bool:
        """:meth:`resume` on the calling thread, within its transaction."""
        self._ready()
        return self._change_known(name, schedule_changes.resume)

    async def remove(self, name: str) -> bool:
        """Delete it; jobs that it has made stay. False: there is no schedule of this name.

        One that code declares comes back as declared when a worker next starts; pause it to keep it from
        firing.
        """
        return await self._run(self.remove_now, name)

    def remove_now(self, name: str) -> bool:
        """:meth:`remove` on the calling thread, within its transaction."""
        self._ready()
        return self._change_known(name, lambda known, _now: schedule_changes.remove(known))

    async def run(self, name: str) -> str:
        """Enqueue its job now, out of turn, paused or not; return the job's id.

        Its fire times stay as they are. While a live job holds the job's unique key, the id is the holder's.

        :raises ScheduleNotFound: there is no schedule of this name
        :raises UnknownTask: its job is not registered here
        """
        return await self._run(self.run_now, name)

    def run_now(self, name: str) -> str:
        """:meth:`run` on the calling thread, within its transaction."""
        self._ready()

        def run(known: Schedule, now: datetime) -> ScheduleChange:
            return schedule_changes.run_now(known, self._producer.of_schedule(known, None, None), now)

        change, ids = self._change(name, lambda known, now: None if known is None else run(known, now))
        if change is None:
            raise ScheduleNotFound(name)
        self._producer.announce(list(change.jobs), ids)
        return ids[-1]

    # -- looking

    async def list(self, status: ScheduleStatus | str | None = None) -> Schedules:
        """All schedules by name, or those of a status: active, paused or ended."""
        return await self._run(self.list_now, status)

    def list_now(self, status: ScheduleStatus | str | None = None) -> Schedules:
        """:meth:`list` on the calling thread."""
        wanted = None if status is None else _status(status)
        self._ready()
        return [one for one in self._backend.list_schedules() if wanted in (None, one.status)]

    async def get(self, name: str) -> Schedule | None:
        """The schedule of this name, or None."""
        return await self._run(self.get_now, name)

    def get_now(self, name: str) -> Schedule | None:
        """:meth:`get` on the calling thread."""
        self._ready()
        found = self._backend.list_schedules([name])
        return found[0] if found else None

    # -- writing

    def _change_known(self, name: str, decide: Callable[[Schedule, datetime], ScheduleChange | None]) -> bool:
        """Write what is decided of a schedule; False if there is none."""
        there = False

        def decided(known: Schedule | None, now: datetime) -> ScheduleChange | None:
            nonlocal there
            there = known is not None
            return None if known is None else decide(known, now)

        self._change(name, decided)
        return there

    def _change(
        self, name: str, decide: Callable[[Schedule | None, datetime], ScheduleChange | None]
    ) -> tuple[ScheduleChange | None, JobIds]:
        """Decide and write, again if somebody else has written meanwhile; the change and its jobs' ids."""
        for _ in range(ROUNDS):
            found = self._backend.list_schedules([name])
            change = decide(found[0] if found else None, self._backend.now())
            if change is None:
                return None, []
            [ids] = self._backend.write_schedules([change])
            if ids is not None:
                return change, ids
        raise BackendConflict(f"the schedule {name!r} is changed by others all the time; try again")


def _says(target: Target) -> EnqueueOptions | TaskRef:
    """Queue and priority that come with the job itself, as ``using()`` and TaskRefs give them."""
    if isinstance(target, Task):
        return target.defaults
    return target if isinstance(target, TaskRef) else EnqueueOptions()


def _status(value: str) -> ScheduleStatus:
    try:
        return ScheduleStatus(value)
    except ValueError:
        known = ", ".join(status.value for status in ScheduleStatus)
        raise ConfigurationError(f"status is {value!r}; known: {known}") from None
