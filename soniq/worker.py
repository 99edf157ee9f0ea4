"""A worker: claims jobs, runs them in slots, records what became of them.

One coroutine, the pump, exchanges with the storage: it writes the outcomes that piled up during the
exchange before, and claims for the slots that are free. While an exchange is under way, jobs run; so
batches grow with the load, and nothing waits for a timer.

::

        storage ──claims──▶ pump ──▶ slot pool ──outcomes──▶ pump ──changes──▶ storage

Besides the free slots the pump claims ahead: no more jobs than the worker finished within the last
tenth of a second. So short jobs flow in large batches, and long ones are never hoarded.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from soniq import maintenance, transitions
from soniq.audience import Audience
from soniq.backend import Silence, StorageBackend, Subscription
from soniq.environment import Environment
from soniq.errors import BackendError
from soniq.execution import Execution, Outcome
from soniq.exits import contained_exits
from soniq.heartbeat import Heart
from soniq.jobs import Claim, ClaimRequest, WorkerInfo
from soniq.outcomes import exchange
from soniq.pace import Pace
from soniq.recycling import Recycling
from soniq.registry import Registry
from soniq.reporter import Reporter
from soniq.settings import Settings
from soniq.slot_pool import SlotPool
from soniq.stopping import Stopping
from soniq.storage_line import AWAY, StorageLine
from soniq.suspects import Suspects
from soniq.unknown import UnknownJobs

logger = logging.getLogger("soniq.worker")

FIRST_PAUSE = 0.05  # seconds; an idle worker doubles its pause up to poll_interval
DRAIN_PATIENCE = 30.0  # seconds that a drain waits for a storage that is away
LONGEST_PAUSE_UNTOLD = 1.0  # seconds between two looks at a store that wakes nobody


class Worker:
    """One worker; :meth:`run` runs it once.

    :param run_once: work through everything that is due, each job at most once, and return
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
        prefetch: bool = True,
        observe: Callable[[Outcome], None] | None = None,
        recycling: Recycling | None = None,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._settings = settings
        self._queues = queues
        self._run_once = run_once
        self.info = WorkerInfo(
            id=str(uuid.uuid4()),
            hostname=socket.gethostname(),
            pid=os.getpid(),
            concurrency=concurrency,
            queues=queues,
        )
        self._wake = asyncio.Event()
        self._stopping = Stopping(settings.shutdown_timeout, changed=self._wake.set)
        patience = DRAIN_PATIENCE if run_once else None
        self._storage = StorageLine(backend, self._stopping, patience=patience)
        self._pace = Pace(enabled=prefetch)
        self._slots = SlotPool(
            concurrency,
            execution=execution,
            pace=self._pace,
            deliver=self._deliver,
            vacated=self._wake.set,
            may_start=lambda: self._heart.trusted,
            at_thread_exit=backend.release,
        )
        self._unknown = UnknownJobs(backend, registry, settings, queues=queues)
        self._maintenance = maintenance.Maintenance(backend, settings, self._unknown)
        self._recycling = recycling or Recycling()
        self._reporter = Reporter(
            audience,
            environment=environment,
            at_thread_exit=backend.release,
            watch=observe,
            changed=self._look_now,
        )
        self._suspects = Suspects(enabled=not run_once)  # a drain attempts each job once, whatever happens
        self._subscription: Subscription = Silence()
        self._outcomes: deque[Outcome] = deque()  # slot threads append to it, too
        self._holding: set[str] = set()  # claimed, and the outcome not recorded yet
        self._resting = False  # whether an outcome must wake the pump
        self._hungry = True  # whether a claim may find something
        self._curious = True  # whether jobs may have come whose code could be found
        self._claimed_since = False  # whether a claim was tried since the worker last asked what is due
        self._pause = FIRST_PAUSE
        self.processed = 0

    # -- from outside

    def stop(self) -> None:
        """Finish the running jobs, then leave. Called a second time: leave them and go at once."""
        self._stopping.request()

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
        return self._subscription.healthy

    async def run(self, *, handle_signals: bool = False) -> bool:
        """Work until stopped, or with ``run_once`` until nothing is due.

        :param handle_signals: SIGTERM and SIGINT call :meth:`stop`
        :returns: whether any job was attempted
        """
        self._loop = asyncio.get_running_loop()
        self._heart = heart = Heart(
            self._backend,
            self.info,
            self._settings.heartbeat_interval,
            dead_after=self._settings.dead_after,
            changed=lambda: self._hinted(None),
        )
        with self._signals(handle_signals), contained_exits():
            sweeper: asyncio.Task[None] | None = None
            try:
                if not await self._registered():
                    return False
                heart.start()
                if self._run_once:
                    await self._sweep_once()
                else:
                    self._subscription = self._backend.subscribe(self._hinted)
                    sweeper = asyncio.create_task(self._sweep())
                await self._pump()
            except AWAY as error:
                if not self._stopping.requested:
                    raise
                left = len(self._outcomes)
                logger.warning("leaving with %d outcomes unrecorded, others will rescue: %s", left, error)
            finally:
                await self._leave(sweeper, heart)
        return self.processed > 0

    # -- the pump

    async def _pump(self) -> None:
        """Exchange with the storage until stopped or, with run_once, until all is done."""
        while not self._stopping.requested:
            self._wake.clear()
            if self._heart.doubted:
                self._heart.doubted = False
                self._give_back(self._slots.drop_ready(), unstarted=True)
            if self._heart.forgotten:
                await self._start_over()
            self._slots.feed()
            wanted = self._wanted()
            if wanted or self._outcomes:
                await self._exchange(wanted)
            elif self._may_leave and not self._slots.running and not self._slots.ready:
                if self._recycling.reason or not await self._learned():
                    return
            else:
                await self._rest()
        await self._drain()

    def _wanted(self) -> int:
        """How many jobs to claim now."""
        if self._outcomes:
            self._recycling.weigh()
        if not self._hungry or self._stopping.requested or not self._heart.trusted or self._reporter.behind:
            return 0
        wanted = self._pace.wanted(
            free=self._slots.free, ready=self._slots.ready, visiting=bool(self._outcomes)
        )
        return self._recycling.allowed(wanted, started=self.processed)

    @property
    def _may_leave(self) -> bool:
        """Whether the worker goes by itself once nothing runs any more."""
        return bool(self._recycling.reason) or (self._run_once and not self._hungry)

    async def _exchange(self, wanted: int) -> None:
        """Record what piled up and claim, in one visit to the storage."""
        self._storage.at_stake = len(self._outcomes)
        if self._storage.doubtful:
            await self._take_stock()
        outcomes = self._taken_outcomes()
        self._storage.at_stake = len(outcomes)
        suspects = self._suspects.wanted if wanted else None
        visit = asyncio.ensure_future(self._storage.call(self._visit, outcomes, wanted, suspects))
        try:
            applied, claims = await self._seen_through(visit, outcomes)
        except AWAY:
            self._outcomes.extendleft(reversed(outcomes))
            if outcomes or not self._stopping.requested:
                raise
            return  # there was nothing to record, and there is nothing to claim any more
        except Exception:
            self._outcomes.extendleft(reversed(outcomes))
            raise
        finally:
            self._storage.at_stake = 0
        self._claimed(claims)
        if suspects:
            self._suspects.found(len(claims))
        elif wanted:
            # Fewer than wanted: the queue is empty for now. A finished job may have enqueued others.
            self._hungry = len(claims) == wanted
            self._claimed_since = True
        self._recorded(outcomes, applied)

    async def _seen_through(
        self, visit: asyncio.Future[tuple[list[bool], list[Claim]]], outcomes: list[Outcome]
    ) -> tuple[list[bool], list[Claim]]:
        """The visit's answer. It goes on in its thread whatever happens to us: its claims are ours."""
        try:
            return await asyncio.shield(visit)
        except asyncio.CancelledError:
            self._stopping.now()
            try:
                applied, claims = await visit
            except BaseException:
                self._outcomes.extendleft(reversed(outcomes))
                raise
            self._claimed(claims)
            self._recorded(outcomes, applied)
            raise

    def _visit(
        self, outcomes: list[Outcome], wanted: int, suspects: bool | None
    ) -> tuple[list[bool], list[Claim]]:
        """Runs on the database thread."""
        request = ClaimRequest(
            worker_id=self.info.id,
            limit=0 if self._stopping.requested else 1 if suspects and wanted else wanted,
            queues=self._queues,
            names=tuple(self._registry),
            skip_own=self._run_once,
            crashed=suspects,
        )
        return exchange(self._backend, outcomes, request)

    async def _take_stock(self) -> None:
        """After an answer was lost: the storage may have given us jobs that we never heard of."""
        held = await self._storage.call(self._backend.held, self.info.id)
        self._storage.doubtful = False
        self._claimed([claim for claim in held if claim.job_id not in self._holding])

    def _claimed(self, claims: Sequence[Claim]) -> None:
        if claims and not self._heart.trusted:
            # The answer came so late that others may have been given these jobs by now.
            self._holding.update(claim.job_id for claim in claims)
            self._give_back(claims)
            return
        if claims:
            self._pause = FIRST_PAUSE
            self.processed += len(claims)
            self._holding.update(claim.job_id for claim in claims)
            claims, too_many = self._suspects.sift(claims)
            self._give_back(too_many, unstarted=True)
            self._slots.feed(claims)

    def _taken_outcomes(self) -> list[Outcome]:
        """What piled up; slot threads may go on adding meanwhile."""
        outcomes = []
        while self._outcomes:
            outcomes.append(self._outcomes.popleft())
        return outcomes

    def _recorded(self, outcomes: list[Outcome], applied: list[bool]) -> None:
        if outcomes:
            ended = {outcome.claim.job_id for outcome in outcomes}
            self._holding -= ended
            self._suspects.ended(ended)
            self._pace.finished(len(outcomes))
            self._hungry = True
            # The next visit to the storage goes first.
            self._loop.call_soon(self._reporter.report, outcomes, applied)

    def _deliver(self, outcome: Outcome) -> None:
        """Called in the event loop and on slot threads."""
        self._outcomes.append(outcome)
        self._pace.took(outcome.seconds)
        if self._resting:
            self._resting = False  # waking once is enough; another thread may do it, too, which is harmless
            self._loop.call_soon_threadsafe(self._wake.set)

    # -- taken for dead

    async def _start_over(self) -> None:
        """Go on as a new worker: the storage has forgotten this one, and with it all of its claims.

        What still runs belongs to others now. Its outcome is dropped when it is to be recorded, since no
        claim of the new worker can look like one of the old.
        """
        former, self.info = self.info, replace(self.info, id=str(uuid.uuid4()))
        logger.warning(
            "worker %s was taken for dead, and what it held was given to others; it goes on as %s",
            former.id,
            self.info.id,
        )
        self._give_back(self._slots.drop_ready(), unstarted=True)
        if await self._registered():
            self._heart.adopt(self.info)

    # -- resting

    async def _rest(self) -> None:
        """Wait for an outcome, a stop, or the next look at the queue."""
        pause = await self._until_next_look()
        if self._curious and self._registry.learns and self._slots.free and self._heart.trusted:
            lesson_in = self._unknown.lesson_in
            if lesson_in <= 0 and await self._learned():
                return
            if lesson_in > 0 and pause is not None:
                pause = min(pause, lesson_in)
        if pause == 0 or not await self._woken_within(pause):
            self._curious = True
            self._hungry |= pause == 0 or not self.listening

    async def _learned(self) -> bool:
        """Look for due jobs whose code this process has not imported yet. True: it has now."""
        if not self._registry.learns:
            return False
        self._curious = False
        try:
            learned = await self._storage.call(self._unknown.learn)
        except AWAY:
            if not self._stopping.requested:
                raise
            return False
        self._hungry |= learned
        return learned

    async def _woken_within(self, seconds: float | None) -> bool:
        """Wait to be woken; an outcome that is there already counts."""
        self._resting = True
        try:
            if not self._outcomes and not self._stopping.at_once:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
        except TimeoutError:
            return False
        finally:
            self._resting = False
        return True

    async def _until_next_look(self) -> float | None:
        """Seconds to rest; None while every slot is taken, as only an outcome changes that."""
        if not self._heart.trusted:
            return self._settings.heartbeat_interval  # until a beat arrives, there is nothing to look for
        if self._slots.ready and self._slots.free:
            return self._pace.patience  # a burst is on, and may turn out to be stuck in a long job
        if not self._slots.free or self._may_leave or self._reporter.behind:
            return None
        longest = self._settings.poll_interval
        if not self.listening:
            longest = min(longest, LONGEST_PAUSE_UNTOLD)
        patient, self._pause = self._pause, min(self._pause * 2, longest)
        if not self.listening:
            return min(patient, longest)
        claimed, self._claimed_since = self._claimed_since, False
        try:
            if self._storage.doubtful:
                await self._take_stock()
            due = await self._storage.call(
                self._backend.next_due, queues=self._queues, names=tuple(self._registry)
            )
        except AWAY:  # and the worker was stopped meanwhile
            return 0.0
        if due is None or due > 0:
            return longest if due is None else min(longest, due)
        # Due; if a claim just now did not get it, others hold it: no reason to spin.
        return patient if claimed else 0.0

    def _hinted(self, queue: str | None) -> None:
        """A job may be there. Called on any thread."""
        if queue is None or self._queues is None or queue in self._queues:
            try:
                self._loop.call_soon_threadsafe(self._look_now)
            except RuntimeError:  # the loop has ended, and the subscription with it
                return

    def _look_now(self) -> None:
        self._hungry = self._curious = True
        self._wake.set()

    # -- stopping

    async def _drain(self) -> None:
        """Let running jobs finish within shutdown_timeout, then give back the rest."""
        self._give_back(self._slots.take_back_ready(), unstarted=True)
        while self._slots.running and not self._stopping.out_of_time:
            self._wake.clear()
            if self._outcomes:
                await self._exchange(0)
            elif not await self._woken_within(self._stopping.deadline - self._loop.time()):
                break
        self._give_back(await self._slots.take_back_running())
        # A stuck burst, or a visit whose answer came late, may have left some.
        self._give_back(self._slots.take_back_ready(), unstarted=True)
        if self._outcomes:
            await self._exchange(0)
            self._give_back(self._slots.take_back_ready(), unstarted=True)

    def _give_back(self, claims: Sequence[Claim], *, unstarted: bool = False) -> None:
        if unstarted:
            self.processed -= len(claims)
        self._outcomes.extend(
            Outcome(claim, transitions.interrupt(claim), started=not unstarted) for claim in claims
        )

    async def _leave(self, sweeper: asyncio.Task[None] | None, heart: Heart) -> None:
        """Record what is left, then stop beating: in this order, or others would rescue our jobs."""
        self._stopping.requested = True
        if sweeper is not None:
            sweeper.cancel()
        try:
            if self._slots.running or self._slots.ready or self._outcomes:
                self._stopping.now()
                await self._drain()
            await asyncio.to_thread(heart.stop)  # a beat after the farewell would register us again
            await self._storage.call(self._backend.deregister, self.info.id)
        except BackendError as error:
            logger.warning("leaving without a word to the storage, others will rescue: %s", error)
        finally:
            if not self._run_once:
                await asyncio.to_thread(self._subscription.close)
            heart.stop()
            self._reporter.report_ends(self._maintenance.take_ends())
            await self._reporter.close(self._stopping.time_left(1.0))
            self._slots.close()
            self._storage.close()

    @contextmanager
    def _signals(self, wanted: bool) -> Iterator[None]:
        """SIGTERM and SIGINT stop the worker, where this thread may handle signals."""
        if not wanted or threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT)
        previous = {number: signal.getsignal(number) for number in caught}
        for number in caught:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number, handler in previous.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler or signal.SIG_DFL)

    # -- the storage

    async def _registered(self) -> bool:
        """Make ourselves known; False if we were stopped before the storage answered."""
        try:
            await self._storage.call(self._backend.register, self.info)
        except AWAY:
            if not self._stopping.requested:
                raise
            return False
        return True

    async def _sweep(self) -> None:
        """Maintenance: at once, then every sweep_interval."""
        while True:
            more = False
            try:
                more = await self._sweep_once()
            except Exception:
                logger.exception("maintenance failed; the next sweep tries again")
            await asyncio.sleep(maintenance.pause(self._settings.sweep_interval, more, random.uniform))

    async def _sweep_once(self) -> bool:
        """One sweep. What it gave back may be claimed now. True: there may be more to do."""
        try:
            more = await self._storage.call(self._maintenance.sweep)
        finally:
            self._reporter.report_ends(self._maintenance.take_ends())
        self._recycling.weigh()
        if self._maintenance.gave_back or self._unknown.learned or self._recycling.reason:
            self._look_now()
        return more
