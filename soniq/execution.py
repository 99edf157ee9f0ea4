"""Run one claimed job and decide what becomes of it.

Whatever a job raises or returns ends in a :class:`~soniq.transitions.Change`; nothing escapes.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from soniq import transitions
from soniq.arguments import clean_text, encode
from soniq.environment import Environment
from soniq.errors import InvalidArguments, InvalidJob, JobTimeout
from soniq.hooks import Hook, Hooks, MetricsSink, await_hook, call_hooks
from soniq.jobs import Claim, DeadLetterReason, JobContext, Snooze
from soniq.registry import Registry
from soniq.retry import RetryPolicy
from soniq.settings import Settings
from soniq.slots import Slot
from soniq.task import Task
from soniq.transitions import Change

logger = logging.getLogger("soniq.worker")

_OWN_CODE = str(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to."""

    claim: Claim
    change: Change
    seconds: float = 0.0
    summary: str = ""  # one line about what went wrong, if something did


class Execution:
    """Runs attempts for one worker.

    :param clock: monotonic seconds, for durations
    """

    def __init__(
        self,
        *,
        registry: Registry,
        settings: Settings,
        retry_policy: RetryPolicy | None,
        metrics: MetricsSink | None,
        environment: Environment,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._hooks: Hooks = registry.all_hooks()
        self._retry_policy = retry_policy
        self._metrics = metrics
        self._environment = environment
        self._clock = clock
        self._policies: dict[str, RetryPolicy] = {}

    async def run(self, claim: Claim, slot: Slot) -> Outcome:
        """Run the job in ``slot``. Cancelling this gives the job back instead of failing it."""
        started = self._clock()
        self._measure_start(claim)
        change, summary = await self._change(claim, slot, started)
        seconds = self._clock() - started
        self._measure_end(claim, change, seconds)
        return Outcome(claim, change, seconds, summary)

    async def _change(self, claim: Claim, slot: Slot, started: float) -> tuple[Change, str]:
        task = self._registry.find(claim.job_name)
        if task is None:
            text = f"no job named {claim.job_name!r} is registered in this worker"
            return transitions.bury(claim, reason=DeadLetterReason.JOB_NOT_FOUND, error=text), text
        try:
            attempt = self._prepared(task, claim, slot, started)
        except BaseException as error:  # noqa: BLE001  # a model's validators are user code
            summary = summarize(error)
            return transitions.bury(
                claim, reason=DeadLetterReason.INVALID_ARGUMENTS, error=clean_text(summary)
            ), summary
        try:
            if task.is_async or self._hooks.need_loop:
                value = await self._in_loop(attempt)
            else:
                value = await self._in_thread(attempt)
            return self._succeeded(attempt, value)
        except asyncio.CancelledError as error:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                slot.abandon_if_busy()
                return transitions.interrupt(claim), ""
            return await self._failed(attempt, error)
        except BaseException as error:  # noqa: BLE001  # SystemExit of a job must not stop the worker
            return await self._failed(attempt, error)

    def _prepared(self, task: Task[..., Any], claim: Claim, slot: Slot, started: float) -> _Attempt:
        """The handler with its arguments and context, ready to be called."""
        context = JobContext(
            job_id=claim.job_id,
            job_name=claim.job_name,
            attempt=claim.attempt,
            max_attempts=claim.max_attempts,
            queue=claim.queue,
            worker_id=claim.worker_id,
            scheduled_at=claim.scheduled_at,
            created_at=claim.created_at,
        )
        if not isinstance(claim.args, dict):
            raise InvalidArguments(f"the stored arguments are {type(claim.args).__name__}, no dict")
        stored = claim.args
        if task.options.validate is not None:
            model = task.options.validate.model_validate(stored)
            stored = {name: getattr(model, name) for name in stored}
        positional, named = task.signature.call_arguments(stored, context)
        timeout = task.options.timeout_seconds(self._settings)
        return _Attempt(task, claim, slot, started, timeout, context, positional, named)

    async def _in_thread(self, attempt: _Attempt) -> Any:
        """Run a sync job, hooks included, in one hop to the slot's thread."""
        claim, slot, hooks = attempt.claim, attempt.slot, self._hooks

        def call() -> Any:
            with self._environment.around_sync():
                call_hooks(hooks.before, claim.job_name, claim.job_id, claim.attempt)
                value = attempt.call()
                call_hooks(hooks.after, claim.job_name, claim.job_id, self._milliseconds(attempt))
                return value

        running = asyncio.ensure_future(self._environment.submit(slot.thread, _carry(call)))
        await asyncio.wait({running}, timeout=attempt.timeout)
        if not running.done():
            running.add_done_callback(_retrieve)
            slot.abandon_if_busy()
            raise JobTimeout(attempt.timeout or 0.0)
        return _unwrap(running.result())

    async def _in_loop(self, attempt: _Attempt) -> Any:
        """Run a job whose handler, hooks or middleware must be awaited."""
        claim, slot, hooks = attempt.claim, attempt.slot, self._hooks
        chain: Callable[[], Awaitable[Any]] = lambda: self._handle(attempt)  # noqa: E731  # a link
        for wrapper in reversed(hooks.around):
            chain = _wrapped(wrapper, attempt.context, chain)
        async with self._environment.around_async(slot.thread):
            await self._await_hooks(hooks.before, slot, claim.job_name, claim.job_id, claim.attempt)
            try:
                async with asyncio.timeout(attempt.timeout) as limit:
                    value = await chain()
            except TimeoutError as error:
                if not limit.expired():
                    raise
                slot.abandon_if_busy()
                raise JobTimeout(attempt.timeout or 0.0) from error
            elapsed = self._milliseconds(attempt)
            await self._await_hooks(hooks.after, slot, claim.job_name, claim.job_id, elapsed)
            return value

    async def _handle(self, attempt: _Attempt) -> Any:
        """Call the handler: an async one here, a sync one on the slot's thread."""
        if attempt.task.is_async:
            return await attempt.call()
        return await self._on_thread(attempt.slot, attempt.call)

    async def _on_thread(self, slot: Slot, call: Callable[[], Any]) -> Any:
        def surrounded() -> Any:
            with self._environment.around_sync():
                return call()

        return _unwrap(await self._environment.submit(slot.thread, _carry(surrounded)))

    async def _await_hooks(self, hooks: list[Hook], slot: Slot, *arguments: object) -> None:
        """Call hooks in order: async ones here, sync ones on the slot's thread, like sync jobs."""
        for hook in hooks:
            if inspect.iscoroutinefunction(hook):
                await await_hook(hook, *arguments)
            else:
                await self._on_thread(slot, partial(call_hooks, [hook], *arguments))

    def _milliseconds(self, attempt: _Attempt) -> float:
        return (self._clock() - attempt.started) * 1000

    def _succeeded(self, attempt: _Attempt, value: Any) -> tuple[Change, str]:
        task, claim = attempt.task, attempt.claim
        if isinstance(value, Snooze):
            seconds = _snooze_seconds(value)
            if seconds is None:
                raise InvalidJob(f"the job returned {value!r}: give 0 or more seconds")
            seconds = min(seconds, self._settings.snooze_max_seconds)
            reason = None if value.reason is None else clean_text(str(value.reason))
            return transitions.snooze(claim, seconds=seconds, reason=reason), reason or ""
        ttl = self._settings.result_ttl
        if task.options.result_ttl is not None:
            ttl = task.options.result_ttl
        if value is None:
            return transitions.succeed(claim, result_json=None, ttl=ttl), ""
        try:
            text = encode(value, limit=self._settings.max_result_bytes, path="result")
        except BaseException as error:  # noqa: BLE001  # a value's own methods may raise anything
            note = f"the result was not stored: {summarize(error)}"
            return transitions.succeed(claim, result_json=None, ttl=ttl, error=clean_text(note)), note
        return transitions.succeed(claim, result_json=text, ttl=ttl), ""

    async def _failed(self, attempt: _Attempt, error: BaseException) -> tuple[Change, str]:
        task, claim = attempt.task, attempt.claim
        await self._await_hooks(
            self._hooks.error, attempt.slot, claim.job_name, claim.job_id, error, claim.attempt
        )
        overran = isinstance(error, JobTimeout)
        change = transitions.fail(
            claim,
            error=describe(error),
            delay=self._retry_delay(task, claim, error),
            exhausted=DeadLetterReason.TIMEOUT if overran else DeadLetterReason.MAX_RETRIES_EXCEEDED,
        )
        return change, summarize(error)

    def _retry_delay(self, task: Task[..., Any], claim: Claim, error: BaseException) -> float | None:
        own = self._policies.get(task.name)
        if own is None:
            own = self._policies[task.name] = task.options.retry_policy(self._settings)
        policy = self._retry_policy or own
        try:
            delay = policy.delay_for(attempt=claim.attempt, job=claim, exc=error)
            if delay is None or 0 <= delay < float("inf"):
                return delay
            logger.error("the retry policy said %r; give 0 or more seconds, or None", delay)
        except BaseException:  # a policy is user code, and the job needs an outcome
            logger.exception("the retry policy failed; the job's own delay is used")
        return own.delay_for(attempt=claim.attempt, job=claim, exc=error)

    def _measure_start(self, claim: Claim) -> None:
        if self._metrics is not None:
            try:
                self._metrics.record_job_start(job_name=claim.job_name, queue=claim.queue)
            except Exception:
                logger.exception("the metrics sink failed; the job goes on")

    def _measure_end(self, claim: Claim, change: Change, seconds: float) -> None:
        if self._metrics is not None:
            try:
                self._metrics.record_job_end(
                    job_name=claim.job_name,
                    queue=claim.queue,
                    status=change.verb,
                    duration_s=seconds,
                )
            except Exception:
                logger.exception("the metrics sink failed; the job goes on")


def describe(error: BaseException) -> str:
    """The error with its traceback from the job's own code on, as text that can be stored."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OWN_CODE):
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(error), error, frames)
        return clean_text("".join(lines).rstrip())
    except BaseException:  # noqa: BLE001  # an exception's own methods may raise anything
        return summarize(error)


def summarize(error: BaseException) -> str:
    """The error in one line."""
    kind = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001  # an exception's own methods may raise anything
        return f"{kind} (its message cannot be read)"
    return clean_text(f"{kind}: {text}" if text else kind, limit=500)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt at one job, ready to be made."""

    task: Task[..., Any]
    claim: Claim
    slot: Slot
    started: float
    timeout: float | None  # seconds
    context: JobContext
    positional: tuple[Any, ...]
    named: dict[str, Any]

    def call(self) -> Any:
        return self.task.fn(*self.positional, **self.named)


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


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Look at the late result of an abandoned call, so that nothing complains that nobody did."""
    if not future.cancelled():
        future.exception()


def _wrapped(wrapper: Any, context: JobContext, inner: Any) -> Any:
    async def outer() -> Any:
        return await wrapper(context, inner)

    return outer


def _snooze_seconds(value: Snooze) -> float | None:
    seconds = value.seconds
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    return float(seconds) if 0 <= seconds < float("inf") else None
