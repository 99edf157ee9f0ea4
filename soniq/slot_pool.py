"""The slots of a worker, what runs in them, and what waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial

from soniq import transitions
from soniq.answers import Answers
from soniq.burst import Burst
from soniq.execution import Execution, Outcome, Running
from soniq.jobs import Claim
from soniq.pace import Pace
from soniq.slots import Slot
from soniq.steady import get_logger

logger = get_logger("soniq.worker")

CANCEL_GRACE = 1.0  # seconds that a cancelled job may take to clean up
WATCH_EVERY = 0.1  # seconds between two looks at a burst
TURN = 0.001  # seconds for which jobs are started, before others in the event loop get their turn


class SlotPool:
    """Runs claims in slots; what becomes of each goes to ``deliver``.

    :param deliver: called in the event loop and on slot threads
    :param vacated: called in the event loop when a slot has become free, and nothing is ready for it
    :param may_start: whether claims can be trusted at present; called in the event loop and on slot threads
    :param at_thread_exit: called on each slot's thread before it ends
    """

    def __init__(
        self,
        concurrency: int,
        *,
        execution: Execution,
        pace: Pace,
        deliver: Callable[[Outcome], None],
        vacated: Callable[[], None],
        may_start: Callable[[], bool],
        at_thread_exit: Callable[[], None],
    ) -> None:
        self._execution = execution
        self._pace = pace
        self._deliver = deliver
        self._vacated = vacated
        self._may_start = may_start
        answers = Answers()
        self._context = copy_context()  # of the worker itself, not of a job
        self._free = [
            self._watched(Slot(number, at_thread_exit, answers)) for number in range(concurrency, 0, -1)
        ]
        self._ready: deque[Claim] = deque()  # claimed, not started; slot threads take from it, too
        self._running: dict[asyncio.Task[None], tuple[Claim | Burst, Slot]] = {}
        self._bursts: set[Burst] = set()
        self._open = True
        self._feeding = False  # whether the loop is about to start what is ready
        self.left_behind = False  # whether code of a job may still be running somewhere

    @property
    def free(self) -> int:
        """How many slots are free."""
        return len(self._free)

    @property
    def ready(self) -> int:
        """How many jobs wait for a slot."""
        return len(self._ready)

    @property
    def running(self) -> bool:
        """Whether any job runs."""
        return bool(self._running)

    def feed(self, claims: Iterable[Claim] = ()) -> None:
        """Add claims; what waits is started in the free slots, in the loop's next turns."""
        self._ready.extend(claims)
        if self._ready and self._free and not self._feeding:
            self._feeding = True
            asyncio.get_running_loop().call_soon(self._start_ready)

    def _start_ready(self) -> None:
        """Start what waits, for a short while: short async jobs run to their end in here."""
        self._feeding = False
        ends = time.monotonic() + TURN
        while self._ready and self._free and self._open and self._may_start():
            if self._execution.fits_thread(self._ready[0]) and self._bursts_are_quick():
                return  # the bursts that are on will take it
            try:
                claim = self._ready.popleft()
            except IndexError:  # a burst was quicker
                return
            self._start(claim)
            if self._ready and time.monotonic() >= ends:
                self.feed()
                return
        if self._free and not self._ready:
            self._vacated()

    def take_back_ready(self) -> list[Claim]:
        """Start nothing any more; what was claimed and never started."""
        self._open = False
        return self.drop_ready()

    def drop_ready(self) -> list[Claim]:
        """Forget what was claimed and never started; returns it."""
        claims = []
        with contextlib.suppress(IndexError):  # a burst took the last one
            while self._ready:
                claims.append(self._ready.popleft())
        return claims

    async def take_back_running(self) -> list[Claim]:
        """Cancel what runs; it is delivered as interrupted. What does not end is returned."""
        tasks = list(self._running)
        self.left_behind = self.left_behind or bool(tasks)
        for task, (_, slot) in self._running.items():
            slot.interrupted = True
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_GRACE)
        stuck = []
        for job, slot in self._running.values():
            claim = job.revoke() if isinstance(job, Burst) else job
            slot.abandon_if_busy()
            self.left_behind = True
            if claim is not None:
                stuck.append(claim)
        self._running.clear()
        return stuck

    def close(self) -> None:
        """End the threads of the slots."""
        for slot in self._free:
            self.left_behind = self.left_behind or slot.abandoned > 0
            slot.close()

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
            return
        running = self._execution.start(claim, slot)
        if running.task.done():
            self._ended(claim, slot, running)
            return
        self._running[running.task] = (claim, slot)
        running.task.add_done_callback(lambda task: self._attended(task, claim, slot, running))

    def _attended(self, task: asyncio.Task[None], claim: Claim, slot: Slot, running: Running) -> None:
        if self._running.pop(task, None) is not None:  # else the worker has given up on it
            self._ended(claim, slot, running)
            self._refill()

    def _watched(self, slot: Slot) -> Slot:
        slot.stuck = partial(self._stuck, slot)
        return slot

    def _stuck(self, slot: Slot) -> None:
        """Called by a timer of the job, which has the job's context; what follows must not."""
        task = next((task for task, (_, its) in self._running.items() if its is slot), None)
        if task is not None:
            asyncio.get_running_loop().call_soon(self._give_up, task, context=self._context)

    def _give_up(self, task: asyncio.Task[None]) -> None:
        """Leave a job that its timeout has cancelled, and that goes on, and its slot with it.

        If it has come to something, and hooks go on, that is delivered; else the job has overrun.
        """
        claim, slot = self._running.get(task, (None, None))
        if slot is None or not isinstance(claim, Claim):  # it has ended, or waits for threads, which are left
            return
        del self._running[task]
        self.left_behind = True
        successor = self._watched(slot.successor())
        logger.error("job %s (%s) swallows its cancellation; it is given up", claim.job_id, claim.job_name)
        outcome = self._execution.come_to(claim, slot)
        if outcome is None:
            ending = asyncio.create_task(self._end_given_up(claim, slot, successor))
            self._running[ending] = (claim, successor)
            return
        self._free.append(successor)
        self._deliver(outcome)
        self._refill()

    async def _end_given_up(self, claim: Claim, slot: Slot, successor: Slot) -> None:
        outcome = await self._execution.overran(claim, successor, self._execution.elapsed(slot))
        if self._vacate(successor):
            self._deliver(outcome)
            self._refill()

    def _refill(self) -> None:
        """A slot has become free."""
        self.feed()
        if not self._ready:
            self._vacated()

    def _ended(self, claim: Claim, slot: Slot, running: Running) -> None:
        """Free the slot, and deliver what became of the job."""
        outcome = running.outcome
        if outcome is None:
            slot.abandon_if_busy()
            outcome = Outcome(claim, transitions.interrupt(claim))
        self._free.append(slot)
        self._deliver(outcome)

    async def _attend_burst(self, burst: Burst, slot: Slot) -> None:
        """Watch a burst of sync jobs; give up a job that overruns its timeout."""
        running = asyncio.ensure_future(self._execution.on_thread(slot, burst))
        claim: Claim | None = None
        outcome: Outcome | None = None
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
            claim = claim or burst.revoke()
            slot.abandon_if_busy()
            if claim is not None:
                outcome = Outcome(claim, transitions.interrupt(claim))
        self._bursts.discard(burst)
        if self._vacate(slot):
            if outcome is not None:
                self._deliver(outcome)
            self._refill()

    def _watch_for(self, burst: Burst) -> float | None:
        """Seconds until a job of the burst can have overrun; None = never. At least a short while."""
        closed, current = burst.closed, burst.current
        if current is None or not closed:
            return WATCH_EVERY  # another job may come, with a timeout of its own
        timeout = self._execution.timeout_of(current[0])
        return None if timeout is None else max(timeout - current[1], WATCH_EVERY / 10)

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
        if not self._open or not self._may_start():
            return None
        try:
            claim = self._ready.popleft()
        except IndexError:
            return None
        if self._execution.fits_thread(claim):
            return claim
        self._ready.appendleft(claim)
        return None

    def _vacate(self, slot: Slot) -> bool:
        """Free the slot that the present task ran in. False: the worker has given up on it."""
        task = asyncio.current_task()
        if task is None or self._running.pop(task, None) is None:
            return False
        self._free.append(slot)
        return True
