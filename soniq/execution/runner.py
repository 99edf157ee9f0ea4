"""What both ways of running a job have in common: its start, its end, and who is told of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from soniq.arguments import clean_text
from soniq.atomic import Atomically, Decided
from soniq.audience import Audience
from soniq.backend import StorageBackend
from soniq.contexts import Restored, restored
from soniq.environment import Environment
from soniq.execution.attempt import Attempt
from soniq.execution.judgement import Judgement
from soniq.execution.outcome import Outcome
from soniq.execution.preparation import Preparation
from soniq.hooks import Hooks
from soniq.jobs import Claim
from soniq.logged import log_start
from soniq.redaction import redactor
from soniq.registry import Registry
from soniq.retry import RetryPolicy
from soniq.settings import Settings
from soniq.steady import get_logger
from soniq.visible import visible_line

logger = get_logger("soniq.worker")

SUMMARY_BYTES = 500


class Runner:
    """Makes attempts for one worker.

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
        self._audience = audience
        self._environment = environment
        self._atomically = Atomically(backend, environment)
        self._preparation = Preparation(registry, settings, self._atomically)
        self._judgement = Judgement(settings, retry_policy)
        self._clock = clock

    def fits_thread(self, claim: Claim) -> bool:
        """Whether nothing about the job must be awaited, so that a thread can run all of it."""
        task = self._registry.find(claim.job_name)
        return task is not None and not task.is_async and not self._hooks_need_loop

    def timeout_of(self, claim: Claim) -> float | None:
        """Seconds that the job may take; None = any time."""
        task = self._registry.find(claim.job_name)
        return None if task is None else task.for_claim(claim).options.timeout_seconds(self._settings)

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

    def _milliseconds(self, attempt: Attempt) -> float:
        return (self._clock() - attempt.started) * 1000

    def _restored(self, attempt: Attempt, *, strict: bool = True) -> Restored:
        """What surrounded the enqueue of the job, to be entered; not ``strict`` around hooks alone."""
        return restored(self._contexts, attempt.claim.context, strict=strict)

    def _tell(self, attempt: Attempt, decided: Decided, error: BaseException | None) -> None:
        """Tell the task of its end, as it was surrounded at its enqueue; never raises."""
        try:
            with self._restored(attempt, strict=False):
                attempt.task.ended(attempt.claim, decided[0], error)
        except BaseException:  # who watches must never decide about a job
            logger.exception("%r failed to observe its attempt; the job goes on", attempt.task)
