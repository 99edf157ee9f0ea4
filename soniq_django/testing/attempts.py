"""Single attempts within a test: made as a worker makes them, recorded, and noted for the summary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from soniq import transitions
from soniq.app import Soniq
from soniq.audience import End
from soniq.execution import Outcome
from soniq.jobs import Claim, JobStatus
from soniq.outcomes import log_outcome
from soniq.registry import Registry
from soniq.slots import Slot
from soniq.transitions import Change
from soniq_django.testing.environment import TestEnvironment, WithinTransaction
from soniq_django.testing.faults import Fault, fault_of
from soniq_django.testing.summary import Attempt, ending_of

T = TypeVar("T")

ORPHANS = 10_000


class Attempts:
    """Makes attempts at jobs of one app.

    :param raising: raise what the first failed attempt raised, once its outcome is recorded
    :param limit: attempts after which an AssertionError says that jobs keep coming
    """

    def __init__(self, app: Soniq, *, raising: bool, limit: int) -> None:
        self._app = app
        self._backend = app.backend
        self.registry = Registry(producer=lambda: app.producer, parent=app.registry)
        self.registry.hooks.on_error(self._note_error)
        self._environment = TestEnvironment()
        self._execution = app.execution(registry=self.registry, environment=self._environment)
        self._slot = Slot(1, at_thread_exit=lambda: None)  # whose thread nobody uses
        self._raising = raising
        self._limit = limit
        self._errors: dict[tuple[str, int], BaseException] = {}
        self.made: list[Attempt] = []

    async def make(self, claim: Claim) -> None:
        """Make one attempt at a claimed job, or let it meet its fault; record what becomes of it."""
        if len(self.made) >= self._limit:
            await self._call(self._backend.apply, [transitions.interrupt(claim)])
            raise AssertionError(
                f"{self._limit} attempts were made, and there is still {claim.job_name} to run: does a job "
                "enqueue itself, or snooze for ever? If not, give drain_jobs a higher limit"
            )
        fault = fault_of(claim, self.registry)
        if fault is None:
            await self._record(await self._outcome(claim))
        elif fault.kind == "timeout":
            await self._record(await self._overran(claim))
        else:
            await self._crash(claim, fault)

    async def _outcome(self, claim: Claim) -> Outcome:
        """Make the attempt."""
        if self._execution.fits_thread(claim):
            return await self._beside(partial(self._execution.run_on_thread, claim))
        around = WithinTransaction()
        await self._beside(around.__enter__)
        running = self._execution.start(claim, self._slot)
        try:
            if not running.task.done():
                await asyncio.wait({running.task})
        except asyncio.CancelledError:
            self._slot.interrupted = True
            running.task.cancel()
            await asyncio.wait({running.task})
            await self._call(self._backend.apply, [transitions.interrupt(claim)])
            raise
        await self._beside(partial(around.__exit__, None, None, None))
        return running.outcome or Outcome(claim, transitions.interrupt(claim))

    async def _overran(self, claim: Claim) -> Outcome:
        seconds = self._execution.timeout_of(claim)
        if seconds is None:
            raise ValueError(
                f"{claim.job_name} has no timeout that it could overrun: give it timeout=, or set JOB_TIMEOUT"
            )
        return await self._execution.overran(claim, self._slot, seconds)

    async def _crash(self, claim: Claim, fault: Fault) -> None:
        """The worker is gone, and with it the outcome; a sweep finds the job and rescues it."""
        if fault.ran:
            await self._run_in_vain(claim)
            self._errors.pop((claim.job_id, claim.attempt), None)  # nobody was left to hear of it
        settings = self._app.settings
        # No worker of this drain was ever registered, so to a sweep its claims are those of a dead one.
        orphans = await self._call(self._backend.orphans, dead_after=settings.dead_after, limit=ORPHANS)
        rescued = [
            transitions.rescue(orphan, max_crashes=settings.max_crashes)
            for orphan in orphans
            if orphan.job_id == claim.job_id
        ]
        for change in rescued:
            [kept] = await self._call(self._backend.apply, [change])
            await self._tell(End.of_lost(claim, change), kept=kept)
            self._note(claim, change, kept=kept)

    async def _run_in_vain(self, claim: Claim) -> None:
        """Make the attempt, and lose what is not on record: its outcome, or all of it if it is atomic."""
        task = self.registry.find(claim.job_name)
        if task is None or not task.options.atomic:
            await self._outcome(claim)
            return
        owner = self._backend if self._backend.supports_transactions else self._environment
        around = owner.job_transaction()  # the worker dies before its commit
        await self._beside(around.begin)
        await self._outcome(claim)
        await self._beside(around.roll_back)

    async def _record(self, outcome: Outcome) -> None:
        claim = outcome.claim
        kept = outcome.settled  # with the transaction of an atomic job
        if kept is None:
            [kept] = await self._call(self._backend.apply, [outcome.change])
        log_outcome(outcome, kept=kept)
        await self._tell(End.of(outcome), kept=kept)
        self._note(claim, outcome.change, kept=kept)
        error = self._errors.get((claim.job_id, claim.attempt))
        if self._raising and error is not None:
            raise error

    async def _tell(self, end: End, *, kept: bool) -> None:
        """Tell whoever hears of ends, where the sync code of jobs runs: receivers may use the ORM."""
        await self._beside(partial(self._app.audience.tell, end, kept=kept))

    def _note(self, claim: Claim, change: Change, *, kept: bool) -> None:
        self.made.append(
            Attempt(
                job_id=claim.job_id,
                job_name=claim.job_name,
                args=claim.args,
                number=claim.attempt,
                ending=ending_of(change.verb, kept=kept),
                error=self._errors.get((claim.job_id, claim.attempt)),
                message=change.error,
                reason=change.reason,
                again_in=change.delay if change.status is JobStatus.QUEUED else None,
            )
        )

    def _note_error(self, _name: str, job_id: str, error: BaseException, attempt: int) -> None:
        self._errors[job_id, attempt] = error

    async def _beside(self, call: Callable[[], T]) -> T:
        """Make a call where the sync code of jobs runs."""
        return await self._environment.submit(self._slot.thread, call)

    async def _call(self, call: Callable[..., T], *args: object, **kwargs: object) -> T:
        return await self._backend.run(partial(call, *args, **kwargs))
