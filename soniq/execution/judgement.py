"""What an attempt comes to, by what it returned or raised. What jobs, values and policies do may raise."""

from __future__ import annotations

import inspect
from typing import Any

from soniq import transitions
from soniq.arguments import clean_text
from soniq.atomic import Decided
from soniq.codec import encode_result
from soniq.errors import InvalidJob, JobTimeout
from soniq.execution.attempt import Attempt
from soniq.failures import class_path, describe, summarize
from soniq.job_options import JobOptions
from soniq.jobs import Claim, DeadLetterReason, Snooze
from soniq.retry import RetryPolicy
from soniq.settings import Settings, is_seconds
from soniq.steady import get_logger
from soniq.task import Task

logger = get_logger("soniq.worker")

UNTOLD_DELAY = 60.0  # seconds until the next attempt after one that could not be judged


class Judgement:
    """Decides about attempts.

    :param retry_policy: the app's own, if it has one; a job's options say it otherwise
    """

    def __init__(self, settings: Settings, retry_policy: RetryPolicy | None) -> None:
        self._settings = settings
        self._retry_policy = retry_policy
        self._policies: dict[JobOptions, RetryPolicy] = {}

    def succeeded(self, attempt: Attempt, value: Any) -> Decided:
        """What comes of a handler that returned ``value``.

        :raises InvalidJob: no handler may return this
        """
        task, claim = attempt.task, attempt.claim
        if isinstance(value, Snooze):
            return self._snoozed(claim, value)
        ttl = task.options.result_seconds(self._settings)
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

    def failed(self, attempt: Attempt, error: BaseException) -> Decided:
        """What comes of an attempt that ended in ``error``."""
        overran = isinstance(error, JobTimeout)
        change = transitions.fail(
            attempt.claim,
            error=describe(error),
            error_class=class_path(error),
            delay=self._retry_delay(attempt.task, attempt.claim, error),
            exhausted=DeadLetterReason.TIMEOUT if overran else DeadLetterReason.MAX_RETRIES_EXCEEDED,
        )
        return change, summarize(error), None

    def _snoozed(self, claim: Claim, value: Snooze) -> Decided:
        if not is_seconds(value.seconds):
            raise InvalidJob(f"the job returned {value!r}: give 0 or more seconds")
        seconds = min(value.seconds, self._settings.snooze_max_seconds)
        reason = None if value.reason is None else clean_text(str(value.reason))
        return transitions.snooze(claim, seconds=seconds, reason=reason), reason or "", None

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


def undecided(claim: Claim, error: BaseException) -> Decided:
    """A failure that is told in constants, for when telling it failed: every attempt needs an outcome."""
    logger.error("the attempt at job %s could not be judged", claim.job_id, exc_info=error)
    text = "the attempt ended in an error that could not be told; see the worker's log"
    change = transitions.fail(claim, error=text, error_class=class_path(error), delay=UNTOLD_DELAY)
    return change, text, None
