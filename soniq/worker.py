"""A worker: claims jobs, runs them in slots, records what became of them.

One coroutine, the pump, exchanges with the storage: it writes the outcomes that piled up during the
exchange before, and claims for the slots that are free. While an exchange is under way, jobs run; so
batches grow with the load, and nothing waits for a timer.

::

        storage ──claims──▶ pump ──▶ ready ──▶ slots ──outcomes──▶ pump ──changes──▶ storage

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from soniq import maintenance, transitions
from soniq.backend import Silence, StorageBackend, Subscription
from soniq.burst import Burst
from soniq.errors import BackendConflict, BackendError, BackendUnavailable
from soniq.execution import Execution, Outcome
from soniq.heartbeat import Heart
from soniq.jobs import Claim, WorkerInfo
from soniq.outcomes import exchange, log_outcome
from soniq.pace import Pace
from soniq.registry import Registry
from soniq.settings import Settings
from soniq.slots import Slot, SlotThread

logger = logging.getLogger("soniq.worker")

AWAY = (BackendUnavailable, BackendConflict)  # trying again is right

P = ParamSpec("P")
T = TypeVar("T")

FIRST_PAUSE = 0.05  # seconds; an idle worker doubles its pause up to poll_interval
LONGEST_PAUSE_UNTOLD = 1.0  # seconds between two looks at a store that wakes nobody
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 15.0
CANCEL_GRACE = 1.0  # seconds that a cancelled job may take to clean up
WATCH_EVERY = 0.1  # seconds between two looks at a burst


class Worker:
    """One worker; :meth:`run` runs it once.

    :param run_once: work through everything that is due, each job at most once, and return
    :param prefetch: claim ahead of the free slots; without it jobs start strictly in claim order
    :param observe: called in the event loop with each recorded outcome
    """

    def __init__(
        self,
        *,
        backend: StorageBackend,
        registry: Registry,
        execution: Execution,
        settings: Settings,
        concurrency: int,
        queues: tuple[str, ...] | None = None,
        run_once: bool = False,
        prefetch: bool = True,
        observe: Callable[[Outcome], None] | None = None,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._execution = execution
        self._settings = settings
        self._queues = queues
        self._run_once = run_once
        self._observe = observe
        self.info = WorkerInfo(
            id=str(uuid.uuid4()),
            hostname=socket.gethostname(),
            pid=os.getpid(),
            concurrency=concurrency,
            queues=queues,
        )
        self._free = [Slot(number, backend.release) for number in range(concurrency, 0, -1)]
        self._ready: deque[Claim] = deque()  # claimed, not started; slot threads take from it, too
        self._running: dict[asyncio.Task[None], tuple[Claim | Burst, Slot]] = {}
        self._bursts: set[Burst] = set()
        self._outcomes: deque[Outcome] = deque()  # slot threads append to it, too
        self._pace = Pace(enabled=prefetch)
        self._wake = asyncio.Event()
        self._subscription: Subscription = Silence()
        self._resting = False  # whether an outcome must wake the pump
        self._hungry = True  # whether a claim may find something
        self._pause = FIRST_PAUSE
        self._stopping = False
        self._at_once = False
        self._deadline: float | None = None
        self._nudge = asyncio.Event()  # ends a back-off
        self._at_stake = 0  # outcomes that the visit under way writes
        self._maintenance = maintenance.Maintenance(backend, settings)
        self._database = SlotThread("soniq-database", backend.release) if backend.blocking else None
        self.processed = 0
        self.abandoned_threads = 0

    # -- from outside

    def stop(self) -> None:
        """Finish the running jobs, then leave. Called a second time: leave them and go at once."""
        if self._stopping:
            self._at_once = True
            logger.warning("stopping at once; running jobs are given back")
        else:
            self._stopping = True
            logger.info("stopping; running jobs have %g s to finish", self._settings.shutdown_timeout)
        self._wake.set()
        self._nudge.set()

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
        heart = Heart(self._backend, self.info, self._settings.heartbeat_interval)
        with self._signals(handle_signals):
            sweeper: asyncio.Task[None] | None = None
            try:
                if not await self._reached(self._backend.register, self.info):
                    return False
                heart.start()
                self._subscription = self._backend.subscribe(self._hinted)
                if self._run_once:
                    await self._sweep_once()
                else:
                    sweeper = asyncio.create_task(self._sweep())
                await self._pump()
            finally:
                await self._leave(sweeper, heart)
        return self.processed > 0

    # -- the pump

    async def _pump(self) -> None:
        """Exchange with the storage until stopped or, with run_once, until all is done."""
        while not self._stopping:
            self._wake.clear()
            self._feed()
            wanted = self._wanted()
            if wanted or self._outcomes:
                await self._exchange(wanted)
            elif self._run_once and not self._running and not self._ready:
                return
            else:
                await self._rest()
        await self._drain()

    def _wanted(self) -> int:
        """How many jobs to claim now."""
        if not self._hungry or self._stopping:
            return 0
        return self._pace.wanted(free=len(self._free), ready=len(self._ready))

    async def _exchange(self, wanted: int) -> None:
        """Record what piled up and claim, in one visit to the storage."""
        outcomes = self._taken_outcomes()
        self._at_stake = len(outcomes)
        visit = asyncio.ensure_future(self._call(self._visit, outcomes, wanted))
        try:
            try:
                applied, claims = await asyncio.shield(visit)
            except asyncio.CancelledError:
                # The visit goes on in its thread: see it through, or its claims would be orphans.
                self._stopping = self._at_once = True
                self._nudge.set()
                applied, claims = await visit
                self._ready.extend(claims)
                self._recorded(outcomes, applied)
                outcomes = []
                raise
        except AWAY:
            self._outcomes.extendleft(reversed(outcomes))
            if outcomes or not self._stopping:
                raise
            return  # there was nothing to record, and there is nothing to claim any more
        except BaseException:
            self._outcomes.extendleft(reversed(outcomes))
            raise
        finally:
            self._at_stake = 0
        self._ready.extend(claims)
        self.processed += len(claims)
        if wanted:
            # Fewer than wanted: the queue is empty for now. A finished job may have enqueued others.
            self._hungry = len(claims) == wanted
        if claims:
            self._pause = FIRST_PAUSE
        self._recorded(outcomes, applied)

    def _visit(self, outcomes: list[Outcome], wanted: int) -> tuple[list[bool], list[Claim]]:
        """Runs on the database thread."""
        return exchange(
            self._backend,
            outcomes,
            worker_id=self.info.id,
            limit=0 if self._stopping else wanted,
            queues=self._queues,
            names=tuple(self._registry),
            skip_own=self._run_once,
        )

    def _taken_outcomes(self) -> list[Outcome]:
        """What piled up; slot threads may go on adding meanwhile."""
        outcomes = []
        while self._outcomes:
            outcomes.append(self._outcomes.popleft())
        return outcomes

    def _recorded(self, outcomes: list[Outcome], applied: list[bool]) -> None:
        for outcome, kept in zip(outcomes, applied, strict=True):
            log_outcome(outcome, kept=kept)
            if self._observe is not None:
                try:
                    self._observe(outcome)
                except Exception:
                    logger.exception("whoever watches the worker failed; the worker goes on")
        if outcomes:
            self._pace.finished(len(outcomes))
            self._hungry = True

    async def _rest(self) -> None:
        """Wait for an outcome, a stop, or the next look at the queue."""
        pause = await self._until_next_look()
        self._resting = True
        try:
            if self._outcomes or self._stopping:
                return
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            self._hungry = True
        finally:
            self._resting = False

    async def _until_next_look(self) -> float | None:
        """Seconds to rest; None while every slot is taken, as only an outcome changes that."""
        if self._ready and self._free:
            return self._pace.patience  # a burst is on, and may turn out to be stuck in a long job
        if not self._free or self._run_once:
            return None
        healthy = self._subscription.healthy
        longest = self._settings.poll_interval
        if not healthy:
            longest = min(longest, LONGEST_PAUSE_UNTOLD)
        pause = longest if healthy else min(self._pause, longest)
        self._pause = min(self._pause * 2, longest)
        if healthy:
            try:
                due = await self._call(
                    self._backend.next_due, queues=self._queues, names=tuple(self._registry)
                )
            except AWAY:  # and the worker was stopped meanwhile
                return 0.0
            if due is not None:
                # Due, and yet a claim did not get it: others hold it. No reason to spin.
                pause = min(pause, due if due > 0 else self._pause)
        return pause

    def _hinted(self, queue: str | None) -> None:
        """A job may be there. Called on any thread."""
        if queue is None or self._queues is None or queue in self._queues:
            self._loop.call_soon_threadsafe(self._look_now)

    def _look_now(self) -> None:
        self._hungry = True
        self._wake.set()

    # -- slots

    def _feed(self) -> None:
        """Start ready jobs in free slots."""
        while self._ready and self._free and not self._stopping:
            if self._execution.fits_thread(self._ready[0]) and self._bursts_are_quick():
                return  # the bursts that are on will take it
            try:
                claim = self._ready.popleft()
            except IndexError:  # a burst was quicker
                return
            self._start(claim)

    def _start(self, claim: Claim) -> None:
        slot = self._free.pop()
        if self._execution.fits_thread(claim):
            burst = Burst(
                claim,
                more=self._next_for_burst,
                attempt=self._execution.run_on_thread,
                deliver=self._deliver,
            )
            self._bursts.add(burst)
            task = asyncio.create_task(self._attend_burst(burst, slot))
            self._running[task] = (burst, slot)
        else:
            task = asyncio.create_task(self._attend(claim, slot))
            self._running[task] = (claim, slot)

    async def _attend(self, claim: Claim, slot: Slot) -> None:
        """Run one job in its slot, and free the slot."""
        try:
            outcome = await self._execution.run(claim, slot)
        except asyncio.CancelledError:
            slot.abandon_if_busy()
            outcome = Outcome(claim, transitions.interrupt(claim))
        if self._vacate(slot):
            self._deliver(outcome)
            self._feed()

    async def _attend_burst(self, burst: Burst, slot: Slot) -> None:
        """Watch a burst of sync jobs; give up a job that overruns its timeout."""
        running = asyncio.ensure_future(self._execution.on_thread(slot, burst))
        outcome = None
        try:
            while not running.done():
                await asyncio.wait({running}, timeout=self._watch_for(burst))
                if not running.done() and self._overran(burst):
                    claim = burst.revoke()
                    if claim is not None:
                        slot.abandon_if_busy()
                        seconds = self._execution.timeout_of(claim) or 0.0
                        outcome = await self._execution.overran(claim, slot, seconds)
                    break
        except asyncio.CancelledError:
            claim = burst.revoke()
            slot.abandon_if_busy()
            if claim is not None:
                outcome = Outcome(claim, transitions.interrupt(claim))
        self._bursts.discard(burst)
        if self._vacate(slot):
            if outcome is not None:
                self._deliver(outcome)
            self._feed()
            self._wake.set()

    def _watch_for(self, burst: Burst) -> float | None:
        """Seconds until the burst's present job can have overrun, at least a short while."""
        current = burst.current
        if current is None:
            return WATCH_EVERY
        timeout = self._execution.timeout_of(current[0])
        return WATCH_EVERY if timeout is None else max(timeout - current[1], WATCH_EVERY / 10)

    def _overran(self, burst: Burst) -> bool:
        current = burst.current
        if current is None:
            return False
        timeout = self._execution.timeout_of(current[0])
        return timeout is not None and current[1] >= timeout

    def _bursts_are_quick(self) -> bool:
        """Whether the jobs of all present bursts are so short that more threads would only be in the way."""
        ages = [current[1] for burst in self._bursts if (current := burst.current) is not None]
        return bool(ages) and self._pace.short_jobs and max(ages) < self._pace.patience

    def _next_for_burst(self) -> Claim | None:
        """Called on slot threads."""
        if self._stopping:
            return None
        try:
            claim = self._ready.popleft()
        except IndexError:
            return None
        if self._execution.fits_thread(claim):
            return claim
        self._ready.appendleft(claim)
        return None

    def _deliver(self, outcome: Outcome) -> None:
        """Called in the event loop and on slot threads."""
        self._outcomes.append(outcome)
        self._pace.took(outcome.seconds)
        if self._resting:
            self._loop.call_soon_threadsafe(self._wake.set)

    def _vacate(self, slot: Slot) -> bool:
        """Free the slot that the present task ran in. False: the worker has given up on it."""
        task = asyncio.current_task()
        if task is None or self._running.pop(task, None) is None:
            return False
        self._free.append(slot)
        return True

    # -- stopping

    async def _drain(self) -> None:
        """Let running jobs finish within shutdown_timeout, then give back the rest."""
        deadline = self._last_call()
        self._give_back_ready()
        while self._running and not self._at_once and self._loop.time() < deadline:
            self._wake.clear()
            if self._outcomes:
                await self._exchange(0)
                continue
            self._resting = True
            try:
                if not self._outcomes:
                    async with asyncio.timeout_at(deadline):
                        await self._wake.wait()
            except TimeoutError:
                break
            finally:
                self._resting = False
        await self._give_back_running()
        if self._outcomes:
            await self._exchange(0)

    def _give_back_ready(self) -> None:
        """What was claimed ahead and never started."""
        while self._ready:
            claim = self._ready.popleft()
            self.processed -= 1
            self._outcomes.append(Outcome(claim, transitions.interrupt(claim)))

    async def _give_back_running(self) -> None:
        """Cancel what still runs; what does not end is given back over its head."""
        tasks = list(self._running)
        for task, (_, slot) in self._running.items():
            slot.interrupted = True
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_GRACE)
        for job, slot in self._running.values():
            claim = job.revoke() if isinstance(job, Burst) else job
            slot.abandon_if_busy()
            self.abandoned_threads += 1
            if claim is not None:
                self._outcomes.append(Outcome(claim, transitions.interrupt(claim)))
        self._running.clear()
        self._give_back_ready()

    async def _leave(self, sweeper: asyncio.Task[None] | None, heart: Heart) -> None:
        """Record what is left, then stop beating: in this order, or others would rescue our jobs."""
        self._stopping = True
        if sweeper is not None:
            sweeper.cancel()
        try:
            if self._running or self._outcomes or self._ready:
                self._at_once = True
                await self._drain()
            await self._call(self._backend.deregister, self.info.id)
        except BackendError as error:
            logger.warning("leaving without a word to the storage, others will rescue: %s", error)
        finally:
            self._subscription.close()
            heart.stop()
            for slot in self._free:
                self.abandoned_threads += slot.abandoned
                slot.close()
            if self._database is not None:
                self._database.shutdown(wait=not self._database.busy)

    @contextmanager
    def _signals(self, wanted: bool) -> Iterator[None]:
        """SIGTERM and SIGINT stop the worker, where this thread may handle signals."""
        if not wanted or threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = self._loop
        caught = (signal.SIGTERM, signal.SIGINT)
        previous = {number: signal.getsignal(number) for number in caught}
        for number in caught:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number, handler in previous.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    # -- the storage

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
        more = await self._call(self._maintenance.sweep)
        self._look_now()
        return more

    async def _reached(self, call: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Make the first call; False if the worker was stopped before the storage answered."""
        try:
            await self._call(call, *args, **kwargs)
        except AWAY:
            if not self._stopping:
                raise
            return False
        return True

    async def _call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a storage call on the database thread; while the storage is away, back off and retry.

        :raises BackendUnavailable: it is away, and the worker has no more time to wait for it
        :raises BackendConflict: the same
        """
        backoff = FIRST_BACKOFF
        while True:
            try:
                if self._database is None:
                    return call(*args, **kwargs)
                return await self._loop.run_in_executor(self._database, lambda: call(*args, **kwargs))
            except AWAY as error:
                if self._out_of_time():
                    raise
                pause = backoff * random.uniform(0.5, 1.0)
                logger.warning("the storage is away, trying again in %.1f s: %s", pause, error)
                await self._back_off(pause)
                backoff = min(backoff * 2, LONGEST_BACKOFF)

    async def _back_off(self, seconds: float) -> None:
        """Wait, but not longer than until the worker is told to stop, or has to."""
        if self._stopping:
            seconds = min(seconds, max(self._last_call() - self._loop.time(), 0.0))
        self._nudge.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        except TimeoutError:
            pass

    def _out_of_time(self) -> bool:
        """Whether a stopped worker waits no longer for the storage: only for outcomes, until the end."""
        if not self._stopping:
            return False
        return self._at_once or not self._at_stake or self._loop.time() >= self._last_call()

    def _last_call(self) -> float:
        """When a stopped worker must be gone, by the clock of the event loop."""
        if self._deadline is None:
            self._deadline = self._loop.time() + self._settings.shutdown_timeout
        return self._deadline
