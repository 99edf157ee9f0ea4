"""Any job, in the event loop: async handlers, middleware and hooks here, sync ones on the slot's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from soniq import transitions
from soniq.atomic import Decided
from soniq.deadline import within
from soniq.eager import eager_task
from soniq.errors import JobTimeout
from soniq.execution.attempt import Attempt, context_of
from soniq.execution.crossing import to_thread, to_transaction
from soniq.execution.judgement import undecided
from soniq.execution.outcome import Outcome
from soniq.execution.runner import Runner
from soniq.exits import in_job
from soniq.hooks import Hook, await_hook, call_hooks, is_async
from soniq.jobs import Claim, JobContext
from soniq.slots import GivenUp, Slot
from soniq.steady import get_logger

logger = get_logger("soniq.worker")

T = TypeVar("T")


class Running:
    """An attempt that runs in the event loop. Cancelling its task gives the job back.

    The outcome is not the task's result: a job may cancel its own task in its last step, and return.
    """

    __slots__ = ("outcome", "task")
    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.outcome: Outcome | None = None  # None while it runs, and if it was cancelled


class InLoop(Runner):
    """Runs any job in the event loop."""

    def start(self, claim: Claim, slot: Slot) -> Running:
        """Begin to run any job in ``slot``.

        From Python 3.12 on the job starts at once: if it waits for nothing, it has ended on return.
        """
        slot.started, slot.decided = self._clock(), None
        if slot.surroundings is None:
            slot.surroundings = self._environment.around_async(slot.thread)
        surroundings = slot.surroundings
        context = surroundings.enter()
        running = Running()
        running.task = eager_task(self._run(claim, slot, running), context=context)
        if running.task.done():
            surroundings.leave(context)
        else:
            running.task.add_done_callback(lambda _: surroundings.leave(context))
        return running

    def on_thread(self, slot: Slot, call: Callable[[], None]) -> Awaitable[None]:
        """Run ``call`` where the sync code of the slot's jobs runs."""
        return self._environment.submit(slot.thread, call)

    def elapsed(self, slot: Slot) -> float:
        """Seconds since the job in a slot began."""
        return self._clock() - slot.started

    def come_to(self, claim: Claim, slot: Slot) -> Outcome | None:
        """What the job in a slot has come to, while hooks that hear of it are on; None: nothing yet."""
        return None if slot.decided is None else self._outcome(claim, slot.decided, slot.started)

    async def overran(self, claim: Claim, slot: Slot, seconds: float) -> Outcome:
        """The outcome of a job that was given up because it took too long."""
        slot.started = started = self._clock() - seconds
        timeout = JobTimeout(self.timeout_of(claim) or 0.0)
        try:
            prepared = self._preparation.attempt(claim, started)
            if isinstance(prepared, Attempt):
                decided = await self._failed(prepared, slot, timeout)
            else:
                decided = prepared
        except GivenUp:
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and slot.interrupted:
                raise
            decided = undecided(claim, error)
        return self._outcome(claim, decided, started)

    # -- from the start to the outcome

    async def _run(self, claim: Claim, slot: Slot, running: Running) -> None:
        in_job.set(True)
        started = slot.started
        self._starts(claim)
        try:
            prepared = self._preparation.attempt(claim, started)
            decided = await self._run_in_loop(prepared, slot) if isinstance(prepared, Attempt) else prepared
        except GivenUp:
            return
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and slot.interrupted:
                raise
            decided = undecided(claim, error)
        running.outcome = self._outcome(claim, decided, started)

    async def _run_in_loop(self, attempt: Attempt, slot: Slot) -> Decided:
        try:
            with self._restored(attempt), self._audience.around(attempt.claim):
                if attempt.references and (unfit := await self._fill(attempt, slot)):
                    return unfit
                decided = await self._decided(attempt, slot)
            await self._tell_in_loop(attempt, slot, decided)
            return decided  # noqa: TRY300  # an else would stand behind both handlers
        except GivenUp:
            raise
        except asyncio.CancelledError as error:
            if slot.interrupted:  # else it is the job's own doing, and a failure
                slot.abandon_if_busy()
                return transitions.interrupt(attempt.claim), "", None
            return await self._failed(attempt, slot, error)
        except BaseException as error:  # noqa: BLE001  # SystemExit of a job must not stop the worker
            return await self._failed(attempt, slot, error)

    async def _failed(self, attempt: Attempt, slot: Slot, error: BaseException) -> Decided:
        slot.check()
        slot.decided = decided = self._judgement.failed(attempt, error)
        if self._hooks.error:
            claim = attempt.claim
            about = (claim.job_name, claim.job_id, error, claim.attempt)
            with self._restored(attempt, strict=False):
                await self._await_hooks(self._hooks.error, slot, attempt, *about)
        await self._tell_in_loop(attempt, slot, decided, error)
        return decided

    # -- the handler, and what is called around it

    async def _fill(self, attempt: Attempt, slot: Slot) -> Decided | None:
        """Load what the arguments refer to on the slot's thread; the job's timeout holds for it, too."""
        fill = partial(self._in_context, attempt, partial(self._preparation.fill, attempt))
        unfit: Decided | None = await self._limited(attempt, slot, self._to_thread(slot, fill))
        return unfit

    async def _decided(self, attempt: Attempt, slot: Slot) -> Decided:
        """What comes of what the handler returns, through middleware and between the hooks."""
        claim, hooks = attempt.claim, self._hooks
        if self._audience.hears_starts:
            announce = partial(self._audience.announce_start, claim)
            await self._bounded(attempt, slot, self._to_thread(slot, announce), "a receiver of its start")
        if hooks.before:
            about = (claim.job_name, claim.job_id, claim.attempt)
            await self._await_hooks(hooks.before, slot, attempt, *about)
        if attempt.task.options.atomic:
            decided = await self._decided_atomically(attempt, slot)
        else:
            value = await self._limited(attempt, slot, self._through_middleware(attempt, slot))
            decided = self._judgement.succeeded(attempt, value)
        slot.decided = decided
        if hooks.after and decided[2] is not False:
            elapsed = self._milliseconds(attempt)
            await self._await_hooks(hooks.after, slot, attempt, claim.job_name, claim.job_id, elapsed)
        return decided

    async def _decided_atomically(self, attempt: Attempt, slot: Slot) -> Decided:
        """Middleware is within the transaction, hooks are not."""

        async def body() -> Decided:
            return self._judgement.succeeded(attempt, await self._through_middleware(attempt, slot))

        try:
            return await self._atomically.run_in_loop(body, slot, attempt.timeout)
        except JobTimeout:
            slot.abandon_if_busy()
            raise
        finally:
            slot.check()

    def _through_middleware(self, attempt: Attempt, slot: Slot) -> Awaitable[Any]:
        chain: Callable[[], Awaitable[Any]]
        chain = attempt.call
        if not attempt.task.is_async:
            there = to_transaction if attempt.task.options.atomic else to_thread
            call = partial(self._in_context, attempt, attempt.call)
            chain = partial(there, self._environment, slot, call)
        if self._hooks.around:
            context = context_of(attempt.claim)
            for wrapper in reversed(self._hooks.around):
                chain = _wrapped(wrapper, context, chain)
        return chain()

    async def _await_hooks(self, hooks: list[Hook], slot: Slot, attempt: Attempt, *arguments: object) -> None:
        """Call hooks in order: async ones here, sync ones on the slot's thread, like sync jobs."""
        for hook in hooks:
            if is_async(hook):
                calling: Awaitable[Any] = await_hook(hook, *arguments)
            else:
                call = partial(call_hooks, [hook], *arguments)
                calling = self._to_thread(slot, partial(self._in_context, attempt, call, strict=False))
            await self._bounded(attempt, slot, calling, f"hook {hook!r}")

    async def _bounded(self, attempt: Attempt, slot: Slot, calling: Awaitable[Any], who: str) -> None:
        """Wait for one who watches for as long as the job itself may take; it decides nothing."""
        try:
            await self._limited(attempt, slot, calling)
        except JobTimeout:
            logger.error(  # noqa: TRY400  # where it was cancelled says nothing
                "%s took longer than the %g s of job %s; the job goes on",
                who,
                attempt.timeout,
                attempt.claim.job_id,
            )

    async def _limited(self, attempt: Attempt, slot: Slot, awaitable: Awaitable[T]) -> T:
        """Await for as long as the job may take.

        :raises JobTimeout: it took longer
        :raises GivenUp: it took longer and swallowed that, and nobody has waited
        """
        try:
            return await within(attempt.timeout, awaitable, stuck=slot.stuck)
        except JobTimeout:
            slot.abandon_if_busy()
            raise
        finally:
            slot.check()

    async def _tell_in_loop(
        self, attempt: Attempt, slot: Slot, decided: Decided, error: BaseException | None = None
    ) -> None:
        if attempt.task.observes and decided[2] is not False:
            telling = self._to_thread(slot, partial(self._tell, attempt, decided, error))
            await self._bounded(attempt, slot, telling, "an observer")

    def _to_thread(self, slot: Slot, call: Callable[[], Any]) -> Awaitable[Any]:
        return to_thread(self._environment, slot, call)

    def _in_context(self, attempt: Attempt, call: Callable[[], T], *, strict: bool = True) -> T:
        """Call it on this thread: what travels there by itself is what context variables hold, no more."""
        with self._restored(attempt, strict=strict):
            return call()


def _wrapped(wrapper: Any, context: JobContext, inner: Any) -> Any:
    async def outer() -> Any:
        return await wrapper(context, inner)

    return outer
