"""A worker: claims jobs, runs them in slots, records what became of them.

One coroutine, the pump, exchanges with the storage: it writes the outcomes that piled up during the
exchange before, and claims for the slots that are free. While an exchange is under way, jobs run; so
batches grow with the load. Nothing waits for a timer, unless there is work claimed for longer than it takes.

::

        storage ──claims──▶ ledger ──▶ slot pool ──outcomes──▶ ledger ──changes──▶ storage

Besides the free slots the pump claims ahead: no more jobs than the worker finished within the last
tenth of a second. So short jobs flow in large batches, and long ones are never hoarded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from soniq.alarm import Alarm
from soniq.audience import Audience
from soniq.backend import StorageBackend
from soniq.environment import Environment
from soniq.errors import BackendError
from soniq.execution import Execution, Outcome
from soniq.exits import contained_exits
from soniq.jobs import WorkerInfo
from soniq.ledger import Ledger
from soniq.lookout import Lookout
from soniq.maintenance import Maintenance
from soniq.mishaps import Mishaps
from soniq.pace import Pace
from soniq.presence import Presence
from soniq.recycling import Recycling
from soniq.registry import Registry
from soniq.reporter import Reporter
from soniq.settings import Settings
from soniq.slot_pool import SlotPool
from soniq.steady import get_logger
from soniq.stopping import Stopping, stopping_on_signals
from soniq.storage_line import AWAY, StorageLine
from soniq.sweeper import Sweeper
from soniq.ticker import Ticker
from soniq.timetable import Timetable
from soniq.unknown import UnknownJobs

logger = get_logger("soniq.worker")

DRAIN_PATIENCE = 30.0  # seconds that a drain waits for a storage that is away


class Worker:
    """One worker; :meth:`run` runs it once.

    :param run_once: work through everything that is due, each job at most once, and return
    :param timetable: the schedules that it fires; None = none
    :param prefetch: claim ahead of the free slots; without it jobs start strictly in claim order
    :param observe: called in the event loop with each recorded outcome
    :param recycling: when the worker leaves by itself
    """

    def __init__(
        self,
        *,
        backend: StorageBackend,
        registry: Registry,
        execution: Execution,
        settings: Settings,
        concurrency: int,
        audience: Audience,
        environment: Environment,
        queues: tuple[str, ...] | None = None,
        run_once: bool = False,
        timetable: Timetable | None = None,
        prefetch: bool = True,
        observe: Callable[[Outcome], None] | None = None,
        recycling: Recycling | None = None,
    ) -> None:
        self._settings = settings
        self._run_once = run_once
        self._recycling = recycling or Recycling()
        self._pace = Pace(enabled=prefetch)
        self._alarm = Alarm()
        self._stopping = Stopping(settings.shutdown_timeout, changed=self._alarm.ring)
        self._storage = StorageLine(backend, self._stopping, patience=DRAIN_PATIENCE if run_once else None)
        self._mishaps = Mishaps(self._storage, self._stopping)
        unknown = UnknownJobs(backend, registry, settings, queues=queues)
        self._lookout = Lookout(
            self._storage,
            registry,
            unknown,
            settings,
            queues=queues,
            wake=self._alarm.ring,
            lost=audience.measure_listener_lost,
        )
        self._presence = Presence(
            self._storage,
            settings,
            concurrency=concurrency,
            queues=queues,
            changed=lambda: self._lookout.hinted(None),
        )
        self._heart = self._presence.heart
        self._reporter = Reporter(
            audience,
            environment=environment,
            at_thread_exit=backend.release,
            watch=observe,
            changed=self._lookout.look_now,
        )
        self._sweeper = Sweeper(
            self._storage,
            Maintenance(backend, settings, unknown),
            self._reporter,
            interval=settings.sweep_interval,
            swept=self._swept,
        )
        self._ticker = None if timetable is None else self._new_ticker(timetable)
        self._ledger = self._new_ledger(registry)
        self._slots = self._new_slots(concurrency, execution, at_thread_exit=backend.release)

    def _new_ticker(self, timetable: Timetable) -> Ticker:
        return Ticker(
            self._storage,
            timetable,
            self._reporter,
            longest=2 * self._settings.poll_interval,
            fired=self._lookout.look_now,
        )

    def _new_ledger(self, registry: Registry) -> Ledger:
        return Ledger(
            self._presence,
            registry=registry,
            storage=self._storage,
            lookout=self._lookout,
            alarm=self._alarm,
            pace=self._pace,
            claims_anew=not self._run_once,
            start=lambda claims: self._slots.feed(claims),  # noqa: PLW0108  # the pool is made after it
            report=self._reporter.report,
        )

    def _new_slots(
        self, concurrency: int, execution: Execution, *, at_thread_exit: Callable[[], None]
    ) -> SlotPool:
        return SlotPool(
            concurrency,
            execution=execution,
            pace=self._pace,
            deliver=self._ledger.deliver,
            vacated=self._alarm.ring,
            may_start=lambda: self._heart.trusted,
            at_thread_exit=at_thread_exit,
        )

    # -- from outside

    def stop(self) -> None:
        """Finish the running jobs, then leave. Called a second time: leave them and go at once."""
        self._stopping.request()

    @property
    def info(self) -> WorkerInfo:
        """What the storage knows of this worker; it goes on under another id if it was taken for dead."""
        return self._presence.info

    @property
    def processed(self) -> int:
        """How many jobs it has attempted or is about to attempt."""
        return self._ledger.processed

    @property
    def left_behind(self) -> bool:
        """Whether code of a job that was given up may still be running, in a thread or a task."""
        return self._slots.left_behind

    @property
    def time_left(self) -> float:
        """Seconds of the shutdown timeout that are left for what jobs have started. Asked in the loop."""
        return self._stopping.time_left(1.0)

    @property
    def listening(self) -> bool:
        """Whether the storage wakes this worker at present; if not, it polls."""
        return self._lookout.listening

    async def run(self, *, handle_signals: bool = False) -> bool:
        """Work until stopped, or with ``run_once`` until nothing is due.

        :param handle_signals: SIGTERM and SIGINT call :meth:`stop`
        :returns: whether any job was attempted
        """
        self._lookout.open()
        with stopping_on_signals(self.stop) if handle_signals else nullcontext(), contained_exits():
            beside: list[asyncio.Task[None]] = []
            try:
                if not await self._presence.begin():
                    return False
                if self._run_once:
                    await self._sweeper.sweep()
                    if self._ticker is not None:
                        await self._ticker.catch_up()
                else:
                    self._lookout.listen()
                    beside.append(asyncio.create_task(self._sweeper.keep_sweeping()))
                    if self._ticker is not None:
                        beside.append(asyncio.create_task(self._ticker.keep_ticking()))
                await self._pump()
            except AWAY as error:
                if not self._stopping.requested:
                    raise
                left = len(self._ledger.outcomes)
                logger.warning("leaving with %d outcomes unrecorded, others will rescue: %s", left, error)
            finally:
                await self._leave(beside)
        return self.processed > 0

    # -- the pump

    async def _pump(self) -> None:
        """Exchange with the storage until stopped or, with run_once, until all is done."""
        while not self._stopping.requested:
            try:
                if not await self._turn():
                    return
                self._mishaps.passed()
            except AWAY:
                raise
            except Exception as error:
                if self._run_once:
                    raise
                await self._mishaps.survive(error)
        await self._drain()

    async def _turn(self) -> bool:
        """One visit to the storage, or one rest. False: all is done."""
        self._alarm.silence()
        if self._heart.doubted:
            self._heart.doubted = False
            self._ledger.give_back(self._slots.drop_ready(), unstarted=True)
        if self._heart.forgotten:
            self._ledger.give_back(self._slots.drop_ready(), unstarted=True)
            await self._presence.start_over()
        self._slots.feed()
        if (pause := self._pace.may_pile_up(ready=self._slots.ready)) > 0:
            await self._alarm.rung_within(pause, unless=lambda: self._stopping.requested, by_outcomes=False)
            if self._stopping.requested:
                return True
        wanted = self._wanted()
        if wanted or self._ledger.outcomes:
            await self._ledger.exchange(wanted)
        elif self._may_leave and not self._slots.running and not self._slots.ready:
            return not self._recycling.reason and await self._lookout.learned()
        else:
            await self._rest()
        return True

    def _wanted(self) -> int:
        """How many jobs to claim now."""
        visiting = bool(self._ledger.outcomes)
        if visiting:
            self._recycling.weigh()
        unable = self._stopping.requested or not self._heart.trusted or self._reporter.behind
        if unable or not self._lookout.hungry:
            return 0
        wanted = self._pace.wanted(free=self._slots.free, ready=self._slots.ready, visiting=visiting)
        return self._recycling.allowed(wanted, started=self.processed)

    @property
    def _may_leave(self) -> bool:
        """Whether the worker goes by itself once nothing runs any more."""
        return bool(self._recycling.reason) or (self._run_once and not self._lookout.hungry)

    # -- resting

    async def _rest(self) -> None:
        """Wait for an outcome, a stop, or the next look at the queue."""
        pause = await self._until_next_look()
        lesson_in = self._lookout.lesson_in if self._slots.free and self._heart.trusted else None
        if lesson_in is not None:
            if lesson_in <= 0 and await self._lookout.learned():
                return
            if lesson_in > 0 and pause is not None:
                pause = min(pause, lesson_in)
        if pause == 0 or not await self._rung_within(pause):
            self._lookout.waited(due=pause == 0)

    async def _until_next_look(self) -> float | None:
        """Seconds to rest; None while every slot is taken, as only an outcome changes that."""
        if not self._heart.trusted:
            return self._settings.heartbeat_interval  # until a beat arrives, there is nothing to look for
        if self._slots.ready and self._slots.free:
            return self._pace.patience  # a burst is on, and may turn out to be stuck in a long job
        if not self._slots.free or self._may_leave or self._reporter.behind:
            return None
        try:
            if self._storage.doubtful and self.listening:
                await self._ledger.take_stock()
            return await self._lookout.pause()
        except AWAY:  # and the worker was stopped meanwhile
            return 0.0

    async def _rung_within(self, seconds: float | None) -> bool:
        """Wait for the alarm; an outcome that is there already counts."""
        return await self._alarm.rung_within(
            seconds, unless=lambda: self._ledger.outcomes or self._stopping.at_once
        )

    def _swept(self, made_claimable: bool) -> None:
        self._recycling.weigh()
        if made_claimable or self._recycling.reason:
            self._lookout.look_now()

    # -- leaving

    async def _drain(self) -> None:
        """Let running jobs finish within shutdown_timeout, then give back the rest."""
        self._ledger.give_back(self._slots.take_back_ready(), unstarted=True)
        while self._slots.running and not self._stopping.out_of_time:
            self._alarm.silence()
            if self._ledger.outcomes:
                await self._ledger.exchange(0)
            elif not await self._rung_within(self._stopping.time_left(0.0)):
                break
        self._ledger.give_back(await self._slots.take_back_running())
        # A stuck burst, or a visit whose answer came late, may have left some.
        self._ledger.give_back(self._slots.take_back_ready(), unstarted=True)
        if self._ledger.outcomes:
            await self._ledger.exchange(0)
            self._ledger.give_back(self._slots.take_back_ready(), unstarted=True)

    async def _leave(self, beside: Sequence[asyncio.Task[None]]) -> None:
        """Record what is left, then stop beating: in this order, or others would rescue our jobs."""
        self._stopping.requested = True
        for task in beside:
            task.cancel()
        try:
            if self._slots.running or self._slots.ready or self._ledger.outcomes:
                self._stopping.now()
                await self._drain()
            await self._presence.end()
        except BackendError as error:
            logger.warning("leaving without a word to the storage, others will rescue: %s", error)
        finally:
            if not self._run_once:
                await asyncio.to_thread(self._lookout.close)
            self._heart.stop()
            self._sweeper.report()
            await self._reporter.close(self._stopping.time_left(1.0))
            self._slots.close()
            self._storage.close()
