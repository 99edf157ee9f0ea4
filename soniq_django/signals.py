"""Django signals of the life of a job.

The sender is the job, as ``@soniq.job`` or ``@task`` made it (None if its code is not here), so a receiver
can be connected to one job alone. All signals are sent robustly: what a receiver raises is logged by Django
and changes nothing.

``job_enqueued(job_id, queue, scheduled_at, delay)``
    A job was written: at once, on the caller's thread, within its transaction, like ``post_save``. What is to
    happen only if that commits belongs into ``transaction.on_commit``. Not sent when a live job with the
    same unique key stands for the new one.
``job_started(job_id, queue, attempt, max_attempts, worker_id)``
    An attempt begins. Sent on the thread of the job, with its connections, and counted as its time.
``job_succeeded(job_id, queue, attempt, max_attempts, worker_id, duration)``
    The handler returned.
``job_failed(job_id, queue, attempt, max_attempts, worker_id, duration, error, retry_in)``
    An attempt failed. ``retry_in``: seconds until the next one; None if there is none.
``job_dead_lettered(job_id, queue, attempt, max_attempts, worker_id, duration, error, reason)``
    The job gave up, and is a dead letter now. After a failed attempt it follows ``job_failed``; for a lost
    worker, or a job that no worker knew, it comes alone.

All of them get ``job_name`` as well. The last three are sent once the outcome is recorded: that of a worker
which lost its claim is dropped, and nobody hears of it. They are sent in a thread of the worker's own, with
a connection of its own, in the order in which outcomes were recorded.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

from soniq import get_default_app
from soniq.audience import End, Observer
from soniq.jobs import Claim, NewJob

__all__ = ["job_dead_lettered", "job_enqueued", "job_failed", "job_started", "job_succeeded"]

job_enqueued = Signal()
job_started = Signal()
job_succeeded = Signal()
job_failed = Signal()
job_dead_lettered = Signal()


class SignalObserver(Observer):
    """Sends the signals; hears nothing while nothing is connected."""

    @property
    def hears_enqueues(self) -> bool:
        """See :class:`soniq.audience.Observer`."""
        return bool(job_enqueued.receivers)

    @property
    def hears_starts(self) -> bool:
        """See :class:`soniq.audience.Observer`."""
        return bool(job_started.receivers)

    @property
    def hears_ends(self) -> bool:
        """See :class:`soniq.audience.Observer`."""
        return bool(job_succeeded.receivers or job_failed.receivers or job_dead_lettered.receivers)

    def enqueued(self, job: NewJob) -> None:
        """See :class:`soniq.audience.Observer`."""
        job_enqueued.send_robust(
            sender=_sender(job.job_name),
            job_id=job.id,
            job_name=job.job_name,
            queue=job.queue,
            scheduled_at=job.scheduled_at,
            delay=job.delay,
        )

    def started(self, claim: Claim) -> None:
        """See :class:`soniq.audience.Observer`."""
        job_started.send_robust(
            sender=_sender(claim.job_name),
            job_id=claim.job_id,
            job_name=claim.job_name,
            queue=claim.queue,
            attempt=claim.attempt,
            max_attempts=claim.max_attempts,
            worker_id=claim.worker_id,
        )

    def ended(self, end: End) -> None:
        """See :class:`soniq.audience.Observer`."""
        change = end.change
        about: dict[str, Any] = {
            "sender": _sender(end.job_name),
            "job_id": change.job_id,
            "job_name": end.job_name,
            "queue": end.queue,
            "attempt": change.attempt,
            "max_attempts": end.max_attempts,
            "worker_id": change.worker_id,
            "duration": end.seconds,
        }
        if change.verb == "succeed":
            job_succeeded.send_robust(**about)
        elif change.verb == "retry":
            job_failed.send_robust(**about, error=end.summary, retry_in=change.delay)
        elif change.verb == "bury":
            if end.seconds is not None:  # else no attempt failed: its worker was lost, or there was none
                job_failed.send_robust(**about, error=end.summary, retry_in=None)
            job_dead_lettered.send_robust(**about, error=end.summary, reason=change.reason)


def _sender(name: str) -> object:
    job = get_default_app().registry.find(name)
    return None if job is None else job.declared
