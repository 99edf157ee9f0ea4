"""A worker: claims jobs, runs them in slots, records what became of them.

One coroutine, the pump, exchanges with the storage: it writes the outcomes that piled up during the
exchange before, and claims for the slots that are free. While an exchange is under way, jobs run; so
batches grow with the load, and nothing waits for a timer.

::

        storage ──claims──▶ pump ──▶ slots ──outcomes──▶ pump ──changes──▶ storage
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from soniq import maintenance, transitions
from soniq.backend import StorageBackend
from soniq.errors import BackendError, BackendUnavailable
from soniq.execution import Execution, Outcome
from soniq.heartbeat import Heart
from soniq.jobs import Claim, WorkerInfo
from soniq.outcomes import log_outcome, recordable
from soniq.registry import Registry
from soniq.settings import Settings
from soniq.slots import Slot, SlotThread

logger = logging.getLogger("soniq.worker")

P = ParamSpec("P")
T = TypeVar("T")

FIRST_PAUSE = 0.05  # seconds; an idle worker doubles its pause up to poll_interval
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 15.0
CANCEL_GRACE = 1.0  # seconds that a cancelled job may take to clean up


class Worker:
    """One worker; :meth:`run` runs it once.

    :param run_once: work through everything that is due, each job at most once, and return
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
        self._running: dict[asyncio.Task[None], tuple[Claim, Slot]] = {}
        self._outcomes: list[Outcome] = []
        self._wake = asyncio.Event()
        self._hungry = True  # whether a claim may find something
        self._pause = FIRST_PAUSE
        self._stopping = False
        self._at_once = False
        self._deadline: float | None = None
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

    async def run(self, *, handle_signals: bool = False) -> bool:
        """Work until stopped, or with ``run_once`` until nothing is due.

        :param handle_signals: SIGTERM and SIGINT call :meth:`stop`
        :returns: whether any job was attempted
        """
        heart = Heart(self._backend, self.info, self._settings.heartbeat_interval)
        with self._signals(handle_signals):
            sweeper: asyncio.Task[None] | None = None
            try:
                if not await self._reached(self._backend.register, self.info):
                    return False
                heart.start()
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
            wanted = len(self._free) if self._hungry else 0
            if wanted or self._outcomes:
                await self._exchange(wanted)
                continue
            if self._run_once and not self._running:
                return
            await self._rest()
        await self._drain()

    async def _exchange(self, wanted: int) -> None:
        """Record what piled up and claim for free slots, in one visit to the storage."""
        outcomes, self._outcomes = self._outcomes, []
        visit = asyncio.ensure_future(self._call(self._visit, outcomes, wanted))
        try:
            applied, claims = await asyncio.shield(visit)
        except asyncio.CancelledError:
            # The visit goes on in its thread: see it through, or its claims would be orphans.
            self._stopping = self._at_once = True
            applied, claims = await visit
            self._outcomes += [Outcome(claim, transitions.interrupt(claim)) for claim in claims]
            self._recorded(outcomes, applied)
            raise
        except BaseException:
            self._outcomes = outcomes + self._outcomes
            raise
        for claim in claims:
            self._start(claim)
        if wanted:
            # Fewer than wanted: the queue is empty for now. A finished job may have enqueued others.
            self._hungry = len(claims) == wanted
        if claims:
            self._pause = FIRST_PAUSE
        self._recorded(outcomes, applied)

    def _visit(self, outcomes: list[Outcome], wanted: int) -> tuple[list[bool], list[Claim]]:
        """Runs on the database thread."""
        applied = recordable(self._backend, outcomes)
        if not wanted or self._stopping:
            return applied, []
        try:
            claims = self._backend.claim(
                worker_id=self.info.id,
                limit=wanted,
                queues=self._queues,
                names=tuple(self._registry),
                skip_own=self._run_once,
            )
        except BackendError as error:
            # What was applied must not be applied again: leave the claim to the next visit.
            logger.warning("claiming failed: %s", error)
            claims = []
        return applied, claims

    def _recorded(self, outcomes: list[Outcome], applied: list[bool]) -> None:
        for outcome, kept in zip(outcomes, applied, strict=True):
            log_outcome(outcome, kept=kept)
            if self._observe is not None:
                self._observe(outcome)
        if outcomes:
            self._hungry = True

    async def _rest(self) -> None:
        """Wait for an outcome, a stop, or the next look at the queue."""
        try:
            async with asyncio.timeout(await self._until_next_look()):
                await self._wake.wait()
        except TimeoutError:
            self._hungry = True

    async def _until_next_look(self) -> float | None:
        """Seconds to rest; None while every slot is taken, as only an outcome changes that."""
        if not self._free or self._run_once:
            return None
        pause = self._pause
        self._pause = min(pause * 2, self._settings.poll_interval)
        if pause > 1.0:
            due = await self._call(self._backend.next_due, queues=self._queues, names=tuple(self._registry))
            if due is not None:
                pause = min(pause, max(due, 0.0))
        return min(pause, self._settings.poll_interval)

    # -- slots

    def _start(self, claim: Claim) -> None:
        slot = self._free.pop()
        task = asyncio.create_task(self._attend(claim, slot), name=f"soniq-job-{claim.job_id}")
        self._running[task] = (claim, slot)
        self.processed += 1

    async def _attend(self, claim: Claim, slot: Slot) -> None:
        """Run one job in its slot, and free the slot."""
        try:
            outcome = await self._execution.run(claim, slot)
        except asyncio.CancelledError:
            slot.abandon_if_busy()
            outcome = Outcome(claim, transitions.interrupt(claim))
        task = asyncio.current_task()
        if task is not None and self._running.pop(task, None) is not None:
            self._outcomes.append(outcome)
            self._free.append(slot)
            self._wake.set()

    # -- stopping

    async def _drain(self) -> None:
        """Let running jobs finish within shutdown_timeout, then give back the rest."""
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + self._settings.shutdown_timeout
        while self._running and not self._at_once and loop.time() < self._deadline:
            self._wake.clear()
            if self._outcomes:
                await self._exchange(0)
                continue
            try:
                async with asyncio.timeout_at(self._deadline):
                    await self._wake.wait()
            except TimeoutError:
                break
        await self._give_back()
        if self._outcomes:
            await self._exchange(0)

    async def _give_back(self) -> None:
        """Cancel what still runs; what does not end is given back over its head."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_GRACE)
        for claim, slot in self._running.values():
            slot.abandon_if_busy()
            self.abandoned_threads += 1
            self._outcomes.append(Outcome(claim, transitions.interrupt(claim)))
        self._running.clear()

    async def _leave(self, sweeper: asyncio.Task[None] | None, heart: Heart) -> None:
        """Record what is left, then stop beating: in this order, or others would rescue our jobs."""
        self._stopping = True
        if sweeper is not None:
            sweeper.cancel()
        try:
            if self._running or self._outcomes:
                self._at_once = True
                await self._drain()
            await self._call(self._backend.deregister, self.info.id)
        except BackendError as error:
            logger.warning("leaving without a word to the storage, others will rescue: %s", error)
        finally:
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
        self._hungry = True
        self._wake.set()
        return more

    async def _reached(self, call: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Make the first call; False if the worker was stopped before the storage answered."""
        try:
            await self._call(call, *args, **kwargs)
        except BackendUnavailable:
            if not self._stopping:
                raise
            return False
        return True

    async def _call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a storage call on the database thread; while the storage is away, back off and retry.

        :raises BackendUnavailable: it is away, and the worker has no more time to wait for it
        """
        backoff = FIRST_BACKOFF
        while True:
            try:
                if self._database is None:
                    return call(*args, **kwargs)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._database, lambda: call(*args, **kwargs))
            except BackendUnavailable as error:
                if self._out_of_time():
                    raise
                pause = backoff * random.uniform(0.5, 1.0)
                logger.warning("the storage is away, trying again in %.1f s: %s", pause, error)
                await asyncio.sleep(pause)
                backoff = min(backoff * 2, LONGEST_BACKOFF)

    def _out_of_time(self) -> bool:
        if not self._stopping:
            return False
        if self._at_once or self._deadline is None:
            return True
        return asyncio.get_running_loop().time() >= self._deadline
