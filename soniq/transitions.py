"""The state machine of a job: pure functions that decide, and write nothing.

::

                 enqueue                         claim (attempt + 1)
    (nothing) ────────────▶ queued ───────────────────────────────▶ processing
                              ▲ │                                     │ │ │
                              │ ├─ hasten ──▶ queued (due now)        │ │ │
                              │ ├─ cancel ──▶ cancelled               │ │ │
                              │ └─ bury_waiting ──▶ dead letter       │ │ │
                              │                                       │ │ │
                              ├──── fail, attempts left (delay) ◀─────┘ │ │
                              ├──── snooze (attempt given back) ◀───────┤ │
                              ├──── interrupt (attempt given back) ◀────┤ │
                              ├──── rescue, crashes left ◀──────────────┘ │
                              │                                           │
                              │                     succeed ──▶ done ◀────┤
                              │                                           │
                              └─ replay (a new job) ── dead letter ◀──────┘
                                                       fail, rescue, bury

Each function returns a :class:`Change`: the state the job must be in for the change to happen (the
guard), and what it becomes. ``StorageBackend.apply`` is the one place that writes them, each as a
compare-and-set on its guard, so an outcome of a worker that lost its claim changes nothing.

No I/O, no clock: a change carries durations, and the storage turns them into instants of its own clock.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from soniq.arguments import clean_text
from soniq.jobs import Claim, DeadLetterReason, JobStatus

FAILURE_BYTES = 4096  # of an error in a job's history; its last error is kept whole

Verb: TypeAlias = Literal["succeed", "retry", "snooze", "interrupt", "rescue", "cancel", "hasten", "bury"]


class Failure(NamedTuple):
    """What the history of a job is to say of an attempt that did not succeed; ``apply`` appends it."""

    error_class: str | None  # "package.module.QualName"; None: no exception
    error: str


class Change(NamedTuple):
    """One decided change of one job."""

    verb: Verb
    job_id: str
    worker_id: str | None  # guard: processing under this worker ...
    attempt: int  # ... as this attempt; without a worker the job must be queued
    status: JobStatus | None  # what it becomes; None = a dead letter
    attempts: int | None = None  # the count afterwards; None = as it is
    crashes: int | None = None  # the count afterwards; None = as it is
    delay: float = 0.0  # of a queued job: seconds until it is due
    error: str | None = None  # None = as it is
    result_json: str | None = None  # of a done job
    ttl: float | None = None  # of a finished job: seconds until it may be purged; None = kept
    reason: DeadLetterReason | None = None  # of a dead letter
    overdue: float = 0.0  # guard of a queued job: due for at least so many seconds; 0 = it may be delayed
    sooner: bool = False  # of a queued job: what is due earlier than ``delay`` says stays so
    failure: Failure | None = None  # one more for the history of the job, or of the dead letter it becomes


def succeed(claim: Claim, *, result_json: str | None, ttl: float | None, error: str | None = None) -> Change:
    """The handler returned. ``error`` notes a result that could not be stored."""
    return _of(
        claim,
        verb="succeed",
        status=JobStatus.DONE,
        result_json=result_json,
        ttl=ttl,
        error=error,
    )


def fail(
    claim: Claim,
    *,
    error: str,
    delay: float | None,
    exhausted: DeadLetterReason = DeadLetterReason.MAX_RETRIES_EXCEEDED,
    error_class: str | None = None,
) -> Change:
    """The handler raised: try again after ``delay`` seconds, or give up.

    It is buried when it must never run again (``delay`` None: permanent_failure, on whichever attempt)
    or when no attempt is left (``exhausted``: max_retries_exceeded, or timeout when the last one overran).

    :param error_class: of what it raised, as "package.module.QualName"
    """
    if delay is None:
        reason = DeadLetterReason.PERMANENT_FAILURE
        return bury(claim, reason=reason, error=error, error_class=error_class)
    if claim.attempt >= claim.max_attempts:
        return bury(claim, reason=exhausted, error=error, error_class=error_class)
    return _of(
        claim,
        verb="retry",
        status=JobStatus.QUEUED,
        delay=delay,
        error=error,
        failure=_failure(error_class, error),
    )


def snooze(claim: Claim, *, seconds: float, reason: str | None) -> Change:
    """The handler asked to run later: queued again, the attempt is given back."""
    return _of(
        claim,
        verb="snooze",
        status=JobStatus.QUEUED,
        attempts=claim.attempt - 1,
        delay=seconds,
        error=reason,
    )


def interrupt(claim: Claim) -> Change:
    """The worker stops before the job ended: queued again, the attempt is given back."""
    return _of(
        claim,
        verb="interrupt",
        status=JobStatus.QUEUED,
        attempts=claim.attempt - 1,
    )


def rescue(claim: Claim, *, max_crashes: int) -> Change:
    """The worker died: queued again, or buried as worker_lost once its chances are used up.

    The attempt stays counted: nobody knows whether the job itself killed the worker.
    """
    crashes = claim.crashes + 1
    error = f"worker {claim.worker_id} was lost during attempt {claim.attempt}"
    if crashes >= max_crashes or claim.attempt >= claim.max_attempts:
        return bury(claim, reason=DeadLetterReason.WORKER_LOST, error=error)
    return _of(
        claim,
        verb="rescue",
        status=JobStatus.QUEUED,
        crashes=crashes,
        error=error,
        failure=_failure(None, error),
    )


def bury(claim: Claim, *, reason: DeadLetterReason, error: str, error_class: str | None = None) -> Change:
    """Give up: the job moves to the dead letters.

    :param error_class: of what it raised, as "package.module.QualName"
    """
    return _of(
        claim,
        verb="bury",
        status=None,
        error=error,
        reason=reason,
        failure=_failure(error_class, error),
    )


def bury_waiting(job_id: str, *, reason: DeadLetterReason, error: str, overdue: float) -> Change:
    """Give up a job that nobody claims, and that has been due for at least ``overdue`` seconds.

    A worker that claims it in the same moment is the stronger one. One that had claimed it and gave it
    back made it due anew, so then it has not waited long enough either.
    """
    return Change(
        verb="bury",
        job_id=job_id,
        worker_id=None,
        attempt=0,
        overdue=overdue,
        status=None,
        error=error,
        reason=reason,
    )


def cancel(job_id: str, *, ttl: float | None) -> Change:
    """Withdraw a job that no worker has claimed."""
    return Change(
        verb="cancel",
        job_id=job_id,
        worker_id=None,
        attempt=0,
        status=JobStatus.CANCELLED,
        ttl=ttl,
    )


def hasten(job_id: str) -> Change:
    """Make a job that waits (delayed, or for a retry) due now; one that is due keeps its place."""
    return Change(
        verb="hasten",
        job_id=job_id,
        worker_id=None,
        attempt=0,
        status=JobStatus.QUEUED,
        sooner=True,
    )


def _failure(error_class: str | None, error: str) -> Failure:
    return Failure(error_class, clean_text(error, limit=FAILURE_BYTES))


def _of(claim: Claim, *, verb: Verb, status: JobStatus | None, **effect: Any) -> Change:
    """A change of the claimed job, behind the guard that the claim still holds."""
    return Change(
        verb=verb,
        job_id=claim.job_id,
        worker_id=claim.worker_id,
        attempt=claim.attempt,
        status=status,
        **effect,
    )
