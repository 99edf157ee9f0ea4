"""Run one claimed job and decide what becomes of it.

Whatever a job raises or returns ends in a :class:`~soniq.transitions.Change`; nothing escapes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from soniq import transitions
from soniq.arguments import clean_text, encode
from soniq.environment import Environment
from soniq.errors import InvalidArguments, InvalidJob, JobTimeout
from soniq.hooks import Hooks, MetricsSink, await_hooks, call_hooks
from soniq.jobs import Claim, DeadLetterReason, JobContext, Snooze
from soniq.registry import Registry
from soniq.retry import RetryPolicy
from soniq.settings import Settings, is_seconds
from soniq.slots import Slot
from soniq.task import Task
from soniq.transitions import Change

logger = logging.getLogger("soniq.worker")

_OWN_CODE = os.path.dirname(__file__) + os.sep


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
            call = self._prepared(task, claim)
        except BaseException as error:  # noqa: BLE001  # a model's validators are user code
            summary = summarize(error)
            return transitions.bury(
                claim, reason=DeadLetterReason.INVALID_ARGUMENTS, error=clean_text(summary)
            ), summary
        timeout = task.options.timeout_seconds(self._settings)
        try:
            if task.is_async or self._hooks.need_loop:
                value = await self._in_loop(task, claim, call, slot, timeout, started)
            else:
                value = await self._in_thread(claim, call, slot, timeout, started)
            return self._succeeded(task, claim, value)
        except asyncio.CancelledError as error:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                slot.abandon_if_busy()
                return transitions.interrupt(claim), ""
            return await self._failed(task, claim, error, slot)
        except BaseException as error:  # noqa: BLE001  # SystemExit of a job must not stop the worker
            return await self._failed(task, claim, error, slot)

    def _prepared(self, task: Task[..., Any], claim: Claim) -> _Call:
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
        return _Call(task, positional, named, context)

    async def _in_thread(
        self,
        claim: Claim,
        call: _Call,
        slot: Slot,
        timeout: float | None,
        started: float,
    ) -> Any:
        """Run a sync job, hooks included, in one hop to the slot's thread."""
        hooks = self._hooks

        def attempt() -> Any:
            with self._environment.around_sync():
                call_hooks(hooks.before, claim.job_name, claim.job_id, claim.attempt)
                value = call()
                call_hooks(
                    hooks.after, claim.job_name, claim.job_id, (self._clock() - started) * 1000
                )
                return value

        running = asyncio.ensure_future(self._environment.submit(slot.thread, _carry(attempt)))
        await asyncio.wait({running}, timeout=timeout)
        if not running.done():
            running.add_done_callback(_retrieve)
            slot.abandon_if_busy()
            raise JobTimeout(timeout or 0.0)
        return _unwrap(running.result())

    async def _in_loop(
        self,
        task: Task[..., Any],
        claim: Claim,
        call: _Call,
        slot: Slot,
        timeout: float | None,
        started: float,
    ) -> Any:
        """Run a job whose handler, hooks or middleware must be awaited."""
        environment = self._environment

        async def handler() -> Any:
            if task.is_async:
                return await call()

            def attempt() -> Any:
                with environment.around_sync():
                    return call()

            return _unwrap(await environment.submit(slot.thread, _carry(attempt)))

        hooks = self._hooks
        chain = handler
        for wrapper in reversed(hooks.around):
            chain = _wrapped(wrapper, call.context, chain)
        async with environment.around_async(slot.thread):
            await await_hooks(hooks.before, claim.job_name, claim.job_id, claim.attempt)
            try:
                async with asyncio.timeout(timeout) as limit:
                    value = await chain()
            except TimeoutError as error:
                if not limit.expired():
                    raise
                slot.abandon_if_busy()
                raise JobTimeout(timeout or 0.0) from error
            elapsed = (self._clock() - started) * 1000
            await await_hooks(hooks.after, claim.job_name, claim.job_id, elapsed)
            return value

    def _succeeded(self, task: Task[..., Any], claim: Claim, value: Any) -> tuple[Change, str]:
        if isinstance(value, Snooze):
            if not is_seconds(value.seconds):
                raise InvalidJob(f"the job returned {value!r}: give 0 or more seconds")
            seconds = min(value.seconds, self._settings.snooze_max_seconds)
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
            return transitions.succeed(
                claim, result_json=None, ttl=ttl, error=clean_text(note)
            ), note
        return transitions.succeed(claim, result_json=text, ttl=ttl), ""

    async def _failed(
        self, task: Task[..., Any], claim: Claim, error: BaseException, slot: Slot
    ) -> tuple[Change, str]:
        hooks = self._hooks.error
        if hooks:
            arguments = (claim.job_name, claim.job_id, error, claim.attempt)
            if self._hooks.need_loop:
                await await_hooks(hooks, *arguments)
            else:
                await self._environment.submit(
                    slot.thread, lambda: call_hooks(hooks, *arguments)
                )
        overran = isinstance(error, JobTimeout)
        change = transitions.fail(
            claim,
            error=describe(error),
            delay=self._retry_delay(task, claim, error),
            exhausted=DeadLetterReason.TIMEOUT
            if overran
            else DeadLetterReason.MAX_RETRIES_EXCEEDED,
        )
        return change, summarize(error)

    def _retry_delay(
        self, task: Task[..., Any], claim: Claim, error: BaseException
    ) -> float | None:
        own = self._policies.get(task.name)
        if own is None:
            own = self._policies[task.name] = task.options.retry_policy(self._settings)
        policy = self._retry_policy or own
        try:
            delay = policy.delay_for(attempt=claim.attempt, job=claim, exc=error)
            if delay is None or is_seconds(delay):
                return delay
            logger.error("the retry policy said %r; give 0 or more seconds, or None", delay)
        except BaseException:  # noqa: BLE001  # a policy is user code, and the job needs an outcome
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


@dataclass(slots=True)
class _Call:
    """A handler with its arguments and context."""

    task: Task[..., Any]
    positional: tuple[Any, ...]
    named: dict[str, Any]
    context: JobContext

    def __call__(self) -> Any:
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
