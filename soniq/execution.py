"""Run one claimed job and decide what becomes of it.

Whatever a job raises or returns ends in a :class:`~soniq.transitions.Change`; nothing escapes.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

from soniq import transitions
from soniq.arguments import clean_text
from soniq.atomic import Atomically, Decided
from soniq.audience import Audience
from soniq.backend import StorageBackend
from soniq.codec import Unloaded, encode_result, load
from soniq.contexts import Restored, restored
from soniq.deadline import within
from soniq.environment import Environment
from soniq.errors import InvalidJob, JobTimeout, ReferenceGone
from soniq.exits import in_job
from soniq.failures import class_path, describe, summarize
from soniq.hooks import Hook, Hooks, await_hook, call_hooks, is_async
from soniq.jobs import JSON, Claim, DeadLetterReason, JobContext, Snooze
from soniq.logged import log_start
from soniq.redaction import redactor
from soniq.registry import Registry
from soniq.retry import RetryPolicy
from soniq.schedule_records import fire_time_in
from soniq.settings import Settings, is_seconds
from soniq.slots import Slot
from soniq.task import JobOptions, Task
from soniq.transitions import Change
from soniq.visible import visible_line

logger = logging.getLogger("soniq.worker")

T = TypeVar("T")

SUMMARY_BYTES = 500
_EAGERLY: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Outcome(NamedTuple):
    """What one attempt came to."""

    claim: Claim
    change: Change
    seconds: float = 0.0
    summary: str = ""  # one line about what went wrong, if something did; secrets masked
    started: bool = True  # whether code of the job may have run
    # Of a change that was written in the job's own transaction: whether the claim held. None: it is not yet.
    settled: bool | None = None


class Running:
    """An attempt that runs in the event loop. Cancelling its task gives the job back.

    The outcome is not the task's result: a job may cancel its own task in its last step, and return.
    """

    __slots__ = ("outcome", "task")
    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.outcome: Outcome | None = None  # None while it runs, and if it was cancelled


class Execution:
    """Runs attempts for one worker.

    :param backend: keeps the jobs; the outcomes of atomic jobs are applied there
    :param clock: monotonic seconds, for durations
    """

    def __init__(
        self,
        *,
        backend: StorageBackend,
        registry: Registry,
        settings: Settings,
        retry_policy: RetryPolicy | None,
        audience: Audience,
        environment: Environment,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._redactor = redactor(settings.redact)
        self._hooks: Hooks = registry.all_hooks()
        self._hooks_need_loop = self._hooks.need_loop
        self._contexts = registry.contexts.kinds()
        self._retry_policy = retry_policy
        self._audience = audience
        self._environment = environment
        self._atomically = Atomically(backend, environment)
        self._clock = clock
        self._policies: dict[JobOptions, RetryPolicy] = {}

    def fits_thread(self, claim: Claim) -> bool:
        """Whether the job can be run by :meth:`run_on_thread`: nothing about it must be awaited."""
        task = self._registry.find(claim.job_name)
        return task is not None and not task.is_async and not self._hooks_need_loop

    def timeout_of(self, claim: Claim) -> float | None:
        """Seconds that the job may take; None = any time."""
        task = self._registry.find(claim.job_name)
        return None if task is None else task.for_claim(claim).options.timeout_seconds(self._settings)

    def run_on_thread(self, claim: Claim) -> Outcome:
        """Run a sync job on the calling thread, hooks included. Its timeout is the caller's to watch.

        In a context of its own: a language or time zone that the job activates ends with it.
        """
        return copy_context().run(self._run_on_thread, claim)

    def _run_on_thread(self, claim: Claim) -> Outcome:
        started = self._clock()
        self._starts(claim)
        try:
            prepared = self._prepare(claim, started)
            decided = self._decide(prepared) if isinstance(prepared, _Attempt) else prepared
        except BaseException as error:  # noqa: BLE001  # logged there
            decided = _undecided(claim, error)
        return self._outcome(claim, decided, started)

    def _decide(self, attempt: _Attempt) -> Decided:
        claim, hooks = attempt.claim, self._hooks
        about = (claim.job_name, claim.job_id)
        try:
            with self._environment.around_sync(), self._restored(attempt), self._audience.around(claim):
                if attempt.references and (unfit := self._fill(attempt)):
                    return unfit
                if self._audience.hears_starts:
                    self._audience.announce_start(claim)
                call_hooks(hooks.before, *about, claim.attempt)
                if attempt.task.options.atomic:
                    decided = self._atomically.run(lambda: self._succeeded(attempt, attempt.call()))
                    if decided[2] is not False:
                        call_hooks(hooks.after, *about, self._milliseconds(attempt))
                else:
                    value = attempt.call()
                    call_hooks(hooks.after, *about, self._milliseconds(attempt))
            if not attempt.task.options.atomic:
                decided = self._succeeded(attempt, value)
        except BaseException as error:  # noqa: BLE001  # SystemExit of a job must not stop the worker
            if hooks.error:
                with self._environment.around_sync(), self._restored(attempt, strict=False):
                    call_hooks(hooks.error, *about, error, claim.attempt)
            decided = self._failed(attempt, error)
            self._tell_on_thread(attempt, decided, error)
        else:
            self._tell_on_thread(attempt, decided)
        return decided

    def _tell_on_thread(
        self, attempt: _Attempt, decided: Decided, error: BaseException | None = None
    ) -> None:
        if attempt.task.observes and decided[2] is not False:
            with self._environment.around_sync():
                self._tell(attempt, decided, error)

    async def _tell_in_loop(
        self, attempt: _Attempt, slot: Slot, decided: Decided, error: BaseException | None = None
    ) -> None:
        if attempt.task.observes and decided[2] is not False:
            await self._on_thread(slot, partial(self._tell, attempt, decided, error))

    def _tell(self, attempt: _Attempt, decided: Decided, error: BaseException | None) -> None:
        """Tell the task of its end, as it was surrounded at its enqueue; never raises."""
        try:
            with self._restored(attempt, strict=False):
                attempt.task.ended(attempt.claim, decided[0], error)
        except BaseException:  # who watches must never decide about a job
            logger.exception("%r failed to observe its attempt; the job goes on", attempt.task)

    def _restored(self, attempt: _Attempt, *, strict: bool = True) -> Restored:
        """What surrounded the enqueue of the job, to be entered; not ``strict`` around hooks alone."""
        return restored(self._contexts, attempt.claim.context, strict=strict)

    def _in_context(self, attempt: _Attempt, call: Callable[[], T], *, strict: bool = True) -> T:
        """Call it on this thread: what travels there by itself is what context variables hold, no more."""
        with self._restored(attempt, strict=strict):
            return call()

    def start(self, claim: Claim, slot: Slot) -> Running:
        """Begin to run any job in ``slot``.

        From Python 3.12 on the job starts at once: if it waits for nothing, it has ended on return.
        """
        if slot.surroundings is None:
            slot.surroundings = self._environment.around_async(slot.thread)
        surroundings = slot.surroundings
        context = surroundings.enter()
        running = Running()
        running.task = asyncio.Task(
            self._run(claim, slot, running),
            loop=asyncio.get_running_loop(),
            context=context,
            **_EAGERLY,
        )
        if running.task.done():
            surroundings.leave(context)
        else:
            running.task.add_done_callback(lambda _: surroundings.leave(context))
        return running

    async def _run(self, claim: Claim, slot: Slot, running: Running) -> None:
        in_job.set(True)
        started = self._clock()
        self._starts(claim)
        try:
            prepared = self._prepare(claim, started)
            decided = await self._run_in_loop(prepared, slot) if isinstance(prepared, _Attempt) else prepared
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and slot.interrupted:
                raise
            decided = _undecided(claim, error)
        running.outcome = self._outcome(claim, decided, started)

    def on_thread(self, slot: Slot, call: Callable[[], None]) -> Awaitable[None]:
        """Run ``call`` where the sync code of the slot's jobs runs."""
        return self._environment.submit(slot.thread, call)

    async def overran(self, claim: Claim, slot: Slot, seconds: float) -> Outcome:
        """The outcome of a sync job that was given up because it took too long."""
        started = self._clock() - seconds
        timeout = JobTimeout(self.timeout_of(claim) or 0.0)
        try:
            prepared = self._prepare(claim, started)
            if isinstance(prepared, _Attempt):
                decided = await self._fail_in_loop(prepared, slot, timeout)
            else:
                decided = prepared
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and slot.interrupted:
                raise
            decided = _undecided(claim, error)
        return self._outcome(claim, decided, started)

    def _starts(self, claim: Claim) -> None:
        if self._audience.measures:
            self._audience.measure_start(claim)
        if logger.isEnabledFor(logging.DEBUG):
            log_start(claim)

    def _outcome(self, claim: Claim, decided: Decided, started: float) -> Outcome:
        change, summary, settled = decided
        return Outcome(claim, change, self._clock() - started, self._told(summary), settled=settled)

    def _told(self, summary: str) -> str:
        """The line as a log may have it: what jobs say may hold secrets, and escape sequences."""
        if not summary:
            return ""
        return visible_line(clean_text(self._redactor.text(summary), limit=SUMMARY_BYTES))

    def _prepare(self, claim: Claim, started: float) -> _Attempt | Decided:
        """The attempt, ready to be made; or what becomes of a job that cannot even be called."""
        task = self._registry.find(claim.job_name)
        if task is None:
            text = f"no job named {claim.job_name!r} is registered in this worker"
            return transitions.bury(claim, reason=DeadLetterReason.JOB_NOT_FOUND, error=text), text, None
        task = task.for_claim(claim)
        if task.options.atomic and (why := self._atomically.refusal) is not None:
            text = f"{task.name} is atomic=True: {why}"
            return transitions.bury(claim, reason=DeadLetterReason.PERMANENT_FAILURE, error=text), text, None
        attempt = _Attempt(task, claim, started, task.options.timeout_seconds(self._settings))
        try:
            return self._fill(attempt) or attempt
        except Unloaded as error:
            attempt.references = error.references
            return attempt  # they are loaded where the job's sync code runs

    def _fill(self, attempt: _Attempt) -> Decided | None:
        """Give the attempt its arguments; or what becomes of a job that cannot be called with them.

        What it refers to is loaded on the calling thread. That the database is away is raised: the attempt
        failed, and the next one may go better.

        :raises Unloaded: references were found among the arguments
        """
        task, claim = attempt.task, attempt.claim
        loaded = load(attempt.references, task.types) if attempt.references else None
        try:
            attempt.positional, attempt.named = task.call_arguments(
                claim.args, lambda: context_of(claim), loaded
            )
        except Unloaded:
            raise
        except BaseException as error:  # noqa: BLE001  # a model's validators are user code
            return self._unfit(attempt, error)
        return None

    def _unfit(self, attempt: _Attempt, error: BaseException) -> Decided:
        """What becomes of a job whose function cannot be called with what is stored."""
        task, claim = attempt.task, attempt.claim
        if isinstance(error, ReferenceGone) and task.options.missing == "discard":
            note = clean_text(f"discarded without being run: {error}")
            done = transitions.succeed(claim, result_json=None, ttl=self._result_ttl(task), error=note)
            return done, note, None
        text = summarize(error)
        if error.__cause__ is not None:
            text = f"{text} ({summarize(error.__cause__)})"
        text = clean_text(text)
        reason = DeadLetterReason.INVALID_ARGUMENTS
        buried = transitions.bury(claim, reason=reason, error=text, error_class=class_path(error))
        return buried, text, None

    async def _fill_in_loop(self, attempt: _Attempt, slot: Slot) -> Decided | None:
        """:meth:`_fill` on the slot's thread; the job's timeout holds for it, too."""
        try:
            unfit: Decided | None = await within(
                attempt.timeout,
                self._on_thread(slot, partial(self._in_context, attempt, partial(self._fill, attempt))),
            )
        except JobTimeout:
            slot.abandon_if_busy()
            raise
        return unfit

    async def _run_in_loop(self, attempt: _Attempt, slot: Slot) -> Decided:
        try:
            with self._restored(attempt), self._audience.around(attempt.claim):
                if attempt.references and (unfit := await self._fill_in_loop(attempt, slot)):
                    return unfit
                value, decided = await self._value(attempt, slot)
            if decided is None:
                decided = self._succeeded(attempt, value)
            await self._tell_in_loop(attempt, slot, decided)
            return decided  # noqa: TRY300  # an else would stand behind both handlers
        except asyncio.CancelledError as error:
            if slot.interrupted:  # else it is the job's own doing, and a failure
                slot.abandon_if_busy()
                return transitions.interrupt(attempt.claim), "", None
            return await self._fail_in_loop(attempt, slot, error)
        except BaseException as error:  # noqa: BLE001  # SystemExit of a job must not stop the worker
            return await self._fail_in_loop(attempt, slot, error)

    async def _value(self, attempt: _Attempt, slot: Slot) -> tuple[Any, Decided | None]:
        """What the handler returns, through middleware and between the hooks; if atomic, what comes of it."""
        claim, hooks = attempt.claim, self._hooks
        if self._audience.hears_starts:
            await self._on_thread(slot, partial(self._audience.announce_start, claim))
        if hooks.before:
            about = (claim.job_name, claim.job_id, claim.attempt)
            await self._await_hooks(hooks.before, slot, attempt, *about)
        value: Any = None
        decided: Decided | None = None
        try:
            if attempt.task.options.atomic:
                decided = await self._decided_atomically(attempt, slot)
            else:
                value = await within(attempt.timeout, self._through_middleware(attempt, slot))
        except JobTimeout:
            slot.abandon_if_busy()
            raise
        if hooks.after and (decided is None or decided[2] is not False):
            elapsed = self._milliseconds(attempt)
            await self._await_hooks(hooks.after, slot, attempt, claim.job_name, claim.job_id, elapsed)
        return value, decided

    async def _decided_atomically(self, attempt: _Attempt, slot: Slot) -> Decided:
        """Middleware is within the transaction, hooks are not."""

        async def body() -> Decided:
            return self._succeeded(attempt, await self._through_middleware(attempt, slot))

        return await self._atomically.run_in_loop(body, slot, attempt.timeout)

    def _through_middleware(self, attempt: _Attempt, slot: Slot) -> Awaitable[Any]:
        chain: Callable[[], Awaitable[Any]]
        chain = attempt.call
        if not attempt.task.is_async:
            there = self._within_transaction if attempt.task.options.atomic else self._on_thread
            chain = partial(there, slot, partial(self._in_context, attempt, attempt.call))
        if self._hooks.around:
            context = context_of(attempt.claim)
            for wrapper in reversed(self._hooks.around):
                chain = _wrapped(wrapper, context, chain)
        return chain()

    async def _on_thread(self, slot: Slot, call: Callable[[], Any]) -> Any:
        def surrounded() -> Any:
            with self._environment.around_sync():
                return call()

        call_there = partial(copy_context().run, _carry(surrounded))
        return _unwrap(await self._environment.submit(slot.thread, call_there))

    async def _within_transaction(self, slot: Slot, call: Callable[[], Any]) -> Any:
        """Like :meth:`_on_thread`, without cleaning up before and after it."""
        call_there = partial(copy_context().run, _carry(call))
        return _unwrap(await self._environment.visit(slot.thread, call_there))

    async def _await_hooks(
        self, hooks: list[Hook], slot: Slot, attempt: _Attempt, *arguments: object
    ) -> None:
        """Call hooks in order: async ones here, sync ones on the slot's thread, like sync jobs."""
        for hook in hooks:
            if is_async(hook):
                await await_hook(hook, *arguments)
            else:
                call = partial(call_hooks, [hook], *arguments)
                await self._on_thread(slot, partial(self._in_context, attempt, call, strict=False))

    async def _fail_in_loop(self, attempt: _Attempt, slot: Slot, error: BaseException) -> Decided:
        if self._hooks.error:
            claim = attempt.claim
            about = (claim.job_name, claim.job_id, error, claim.attempt)
            with self._restored(attempt, strict=False):
                await self._await_hooks(self._hooks.error, slot, attempt, *about)
        decided = self._failed(attempt, error)
        await self._tell_in_loop(attempt, slot, decided, error)
        return decided

    def _milliseconds(self, attempt: _Attempt) -> float:
        return (self._clock() - attempt.started) * 1000

    def _succeeded(self, attempt: _Attempt, value: Any) -> Decided:
        task, claim = attempt.task, attempt.claim
        if isinstance(value, Snooze):
            if not is_seconds(value.seconds):
                raise InvalidJob(f"the job returned {value!r}: give 0 or more seconds")
            seconds = min(value.seconds, self._settings.snooze_max_seconds)
            reason = None if value.reason is None else clean_text(str(value.reason))
            return transitions.snooze(claim, seconds=seconds, reason=reason), reason or "", None
        ttl = self._result_ttl(task)
        if value is None:
            return transitions.succeed(claim, result_json=None, ttl=ttl), "", None
        if inspect.iscoroutine(value):
            value.close()
            raise InvalidJob("the job returned a coroutine, so its code did not run; declare it async def")
        limit = self._settings.max_result_bytes
        try:
            text = encode_result(value, limit=limit, types=task.types)
        except BaseException as error:  # noqa: BLE001  # a value's own methods may raise anything
            other = task.instead_of(value, error)
            if other is not None:
                text = encode_result(other, limit=limit, types=task.types)
                return transitions.succeed(claim, result_json=text, ttl=ttl), "", None
            note = f"the result was not stored: {summarize(error)}"
            done = transitions.succeed(claim, result_json=None, ttl=ttl, error=clean_text(note))
            return done, note, None
        return transitions.succeed(claim, result_json=text, ttl=ttl), "", None

    def _result_ttl(self, task: Task[..., Any]) -> float | None:
        own = task.options.result_ttl
        return self._settings.result_ttl if own is None else own

    def _failed(self, attempt: _Attempt, error: BaseException) -> Decided:
        task, claim = attempt.task, attempt.claim
        overran = isinstance(error, JobTimeout)
        change = transitions.fail(
            claim,
            error=describe(error),
            error_class=class_path(error),
            delay=self._retry_delay(task, claim, error),
            exhausted=DeadLetterReason.TIMEOUT if overran else DeadLetterReason.MAX_RETRIES_EXCEEDED,
        )
        return change, summarize(error), None

    def _retry_delay(self, task: Task[..., Any], claim: Claim, error: BaseException) -> float | None:
        own = self._policies.get(task.options)
        if own is None:
            own = self._policies[task.options] = task.options.retry_policy(self._settings)
        policy = self._retry_policy or own
        try:
            delay = policy.delay_for(attempt=claim.attempt, job=claim, exc=error)
            if delay is None or is_seconds(delay):
                return delay
            logger.error("the retry policy said %r; give 0 or more seconds, or None", delay)
        except BaseException:  # a policy is user code, and the job needs an outcome
            logger.exception("the retry policy failed; the job's own delay is used")
        return own.delay_for(attempt=claim.attempt, job=claim, exc=error)


def _undecided(claim: Claim, error: BaseException) -> Decided:
    """A failure that is told in constants, for when telling it failed: every attempt needs an outcome."""
    logger.error("the attempt at job %s could not be judged", claim.job_id, exc_info=error)
    text = "the attempt ended in an error that could not be told; see the worker's log"
    return transitions.fail(claim, error=text, error_class=class_path(error), delay=60.0), text, None


@dataclass(slots=True)
class _Attempt:
    """One attempt at one job, ready to be made."""

    task: Task[..., Any]
    claim: Claim
    started: float
    timeout: float | None  # seconds
    references: Sequence[Mapping[str, JSON]] = ()  # to be loaded before it has arguments
    positional: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)

    def call(self) -> Any:
        return self.task.fn(*self.positional, **self.named)


def context_of(claim: Claim) -> JobContext:
    """What the handler may know of its run."""
    return JobContext(
        job_id=claim.job_id,
        job_name=claim.job_name,
        attempt=claim.attempt,
        max_attempts=claim.max_attempts,
        queue=claim.queue,
        worker_id=claim.worker_id,
        scheduled_at=claim.scheduled_at,
        created_at=claim.created_at,
        scheduled_for=fire_time_in(claim.context),
    )


@dataclass(slots=True)
class _Raised:
    """An exception on its way through a future, which could not carry StopIteration."""

    error: BaseException


def _carry(call: Callable[[], Any]) -> Callable[[], Any]:
    def attempt() -> Any:
        try:
            return call()
        except BaseException as error:  # noqa: BLE001  # handed on to the caller
            return _Raised(error)

    return attempt


def _unwrap(value: Any) -> Any:
    if isinstance(value, _Raised):
        raise value.error
    return value


def _wrapped(wrapper: Any, context: JobContext, inner: Any) -> Any:
    async def outer() -> Any:
        return await wrapper(context, inner)

    return outer
