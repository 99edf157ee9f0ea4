"""Atomic jobs: what the handler wrote and what became of the job commit in one transaction.

Around the handler of a job with ``atomic=True`` a transaction is open on the database that keeps the jobs.
What the handler returns is decided within it, applied within it, through the same ``apply`` and the same
guard as everywhere, and committed with the handler's own writes. So there are three ends:

==================================  =================================================================
the guard held, the commit went on  effects and outcome are there, both; the recorder has only to tell
the guard did not hold              the claim was lost meanwhile: all is rolled back, nothing is recorded
anything was raised                 all is rolled back; the failure is recorded afterwards, as ever
==================================  =================================================================

An answer that is lost on the way from the commit counts as raised. The failure that is then recorded meets
the same guard: if the commit went through, the job is done and the failure is dropped; if it did not, nobody
saw any effect, and the job is tried again. Either way each effect is there once.

The job's row is written last, right before the commit. Until then nobody waits for it: beats, sweeps and
rescues go on beside a long handler, and a rescue in between makes the guard fail.

On a store without transactions the environment may still offer one for the handler alone (the test fixtures
do): then the handler's writes are all or nothing, and the outcome is recorded afterwards. If it offers none,
the job is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from soniq.backend import JobTransaction, StorageBackend
from soniq.deadline import within
from soniq.environment import Environment
from soniq.errors import JobTimeout
from soniq.slots import Slot
from soniq.steady import get_logger
from soniq.transitions import Change

logger = get_logger("soniq.worker")

ROLLBACK_PATIENCE = 5.0  # seconds that an async job's rollback may take, before its thread is given up

# The change, one line about what went wrong if something did, and whether the claim still held if that was
# settled within the job's own transaction; None: the recorder will find out.
Decided: TypeAlias = tuple[Change, str, bool | None]


def refusal(backend: StorageBackend, environment: Environment) -> str | None:
    """Why atomic jobs cannot run, and what to do; None: they can."""
    if backend.supports_transactions or environment.supports_transactions:
        return None
    return (
        f"this app keeps its jobs in {backend.describe()}, where no transaction can hold both the job and "
        "what it writes; run it from a Django database, or in tests with "
        "soniq_django.testing.TestEnvironment (the fixture soniq_app has it)"
    )


class Atomically:
    """Runs the handlers of atomic jobs for one worker."""

    def __init__(self, backend: StorageBackend, environment: Environment) -> None:
        self._backend = backend
        self._environment = environment

    @property
    def refusal(self) -> str | None:
        """See :func:`refusal`."""
        return refusal(self._backend, self._environment)

    def run(self, body: Callable[[], Decided]) -> Decided:
        """Make one attempt on the calling thread; ``body`` calls the handler and decides."""
        job = self._begun()
        try:
            return self._finished(job, body())
        except BaseException:
            job.roll_back()
            raise

    async def run_in_loop(
        self, body: Callable[[], Awaitable[Decided]], slot: Slot, timeout: float | None
    ) -> Decided:
        """The same for a body that is awaited; all that it calls on the slot's thread belongs to it.

        :param timeout: seconds that all of it may take, the commit included; None = any time
        :raises JobTimeout: it took longer
        """
        begun: list[JobTransaction] = []
        try:
            return await within(timeout, self._whole(body, slot, begun), stuck=slot.stuck)
        except BaseException as error:
            in_haste = slot.interrupted or isinstance(error, JobTimeout)
            # The thread of a slot that was given up closes its connections, which rolls back.
            if not (slot.given_up or (in_haste and slot.abandon_if_busy())):
                await self._roll_back(begun, slot)
            raise

    async def _whole(
        self, body: Callable[[], Awaitable[Decided]], slot: Slot, begun: list[JobTransaction]
    ) -> Decided:
        def begin() -> None:
            begun.append(self._begun())

        await self._visit(slot, begin)
        decided = await body()
        slot.check()
        finished: Decided = await self._visit(slot, partial(self._finished, begun[0], decided))
        return finished

    async def _roll_back(self, begun: list[JobTransaction], slot: Slot) -> None:
        """Undo it all on the thread that began it; leave a thread that is stuck to its call.

        A thread that was left closes its connections once the call ends, which rolls back, too.
        """

        def roll_back() -> None:
            for job in begun:
                job.roll_back()

        try:
            async with asyncio.timeout(ROLLBACK_PATIENCE):
                await self._visit(slot, roll_back)
        except Exception:
            logger.exception("an atomic job could not be rolled back at once; its connection is given up")
            slot.abandon_if_busy()

    async def _visit(self, slot: Slot, call: Callable[[], Any]) -> Any:
        return await self._environment.visit(slot.thread, call)

    def _begun(self) -> JobTransaction:
        owner = self._backend if self._backend.supports_transactions else self._environment
        job = owner.job_transaction()
        job.begin()
        return job

    def _finished(self, job: JobTransaction, decided: Decided) -> Decided:
        """Apply and commit, or roll back because the claim was lost."""
        change, summary, _ = decided
        job.check()
        if not self._backend.supports_transactions:
            job.commit()
            return decided
        if not self._backend.apply([change])[0]:
            job.roll_back()
            return change, summary, False
        job.commit()
        return change, summary, True
