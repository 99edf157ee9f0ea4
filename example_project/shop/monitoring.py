"""What the shop wants to hear of its jobs: a signal, a hook and a middleware. Metrics are in the settings."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.core.mail import mail_managers
from django.dispatch import receiver

import soniq
from shop.actor import current_actor
from soniq_django.signals import job_dead_lettered

logger = logging.getLogger("shop")


@receiver(job_dead_lettered)
def alert_managers(job_id: str, job_name: str, reason: str, error: str, **_more: Any) -> None:
    """A signal tells what was recorded: this job has given up, and somebody has to look at it."""
    mail_managers(
        f"{job_name} gave up",
        f"{reason}: {error}\n\nmanage.py soniq_dead_letter show {job_id}\n",
    )


@soniq.on_error
def tell_whose_job_failed(job_name: str, job_id: str, error: BaseException, attempt: int) -> None:
    """A hook tells what ran, within the job's context."""
    logger.info(
        "%s in attempt %d of %s %s, which %s caused",
        type(error).__name__,
        attempt,
        job_name,
        job_id,
        current_actor() or "nobody",
    )


@soniq.middleware
async def warn_of_slow_jobs(ctx: soniq.JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
    """A middleware is around each attempt, and may change what comes of it."""
    begun = time.monotonic()
    try:
        return await call_next()
    finally:
        seconds = time.monotonic() - begun
        if seconds > settings.SLOW_JOB_SECONDS:
            logger.warning("%s %s took %.1f s", ctx.job_name, ctx.job_id, seconds)
