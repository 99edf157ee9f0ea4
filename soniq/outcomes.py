"""Recording outcomes: the write that must not fail, and the log line of each."""

from __future__ import annotations

import logging

from soniq import transitions
from soniq.backend import StorageBackend
from soniq.errors import BackendConflict, BackendUnavailable
from soniq.execution import Outcome
from soniq.jobs import Claim, ClaimRequest
from soniq.logged import facts_of
from soniq.steady import get_logger

logger = get_logger("soniq.worker")


def exchange(
    backend: StorageBackend, outcomes: list[Outcome], request: ClaimRequest
) -> tuple[list[bool], list[Claim]]:
    """Apply all outcomes and claim; say of each outcome whether its claim still held.

    What atomic jobs have settled in their own transactions is not written again.
    Should the storage refuse one of them for what it contains, the others are still written, and that
    one is recorded as a failure with constant text: every attempt ends in a state.

    :raises BackendUnavailable: the storage is away; nothing was written
    :raises BackendConflict: it gave up the transaction; nothing was written
    """
    pending = [outcome for outcome in outcomes if outcome.settled is None]
    if len(pending) < len(outcomes):
        answers, claims = exchange(backend, pending, request)
        written = iter(answers)
        return [next(written) if one.settled is None else one.settled for one in outcomes], claims
    try:
        return backend.exchange([outcome.change for outcome in outcomes], request)
    except (BackendUnavailable, BackendConflict):
        raise
    except Exception:
        if not outcomes:
            raise
        logger.exception("the storage refused a batch of %d outcomes", len(outcomes))
    return [_alone(backend, outcome) for outcome in outcomes], []


def _alone(backend: StorageBackend, outcome: Outcome) -> bool:
    try:
        return backend.apply([outcome.change])[0]
    except (BackendUnavailable, BackendConflict):
        raise
    except Exception:
        logger.exception("the storage refused the outcome of job %s", outcome.claim.job_id)
    fallback = transitions.fail(
        outcome.claim, error="the outcome could not be stored; see the worker's log", delay=60.0
    )
    try:
        return backend.apply([fallback])[0]
    except (BackendUnavailable, BackendConflict):
        raise
    except Exception:
        logger.exception("job %s stays as it is until this worker has left", outcome.claim.job_id)
        return False


def log_outcome(outcome: Outcome, *, kept: bool) -> None:
    """One line per outcome."""
    claim, change = outcome.claim, outcome.change
    if not kept:
        logger.warning(
            "dropped   %s %s: attempt %d no longer belongs to this worker",
            claim.job_name,
            claim.job_id,
            claim.attempt,
            extra={**facts_of(claim), "outcome": "dropped", "duration_ms": outcome.seconds * 1000},
        )
        return
    level = _LEVELS[change.verb]
    if not logger.isEnabledFor(level):
        return
    about = {
        "succeed": "",
        "retry": f"; again in {change.delay:g} s",
        "snooze": f"; again in {change.delay:g} s",
        "interrupt": "; given back",
        "bury": f"; {change.reason}",
    }[change.verb]
    logger.log(
        level,
        "%-9s %s %s (attempt %d of %d, %.0f ms)%s%s",
        _WORDS[change.verb],
        claim.job_name,
        claim.job_id,
        claim.attempt,
        claim.max_attempts,
        outcome.seconds * 1000,
        about,
        f": {outcome.summary}" if outcome.summary else "",
        extra={
            **facts_of(claim),
            "outcome": change.verb,
            "duration_ms": outcome.seconds * 1000,
            "error": outcome.summary,
        },
    )


_WORDS = {
    "succeed": "done",
    "retry": "retry",
    "snooze": "snooze",
    "interrupt": "interrupt",
    "bury": "dead",
}
_LEVELS = {
    "succeed": logging.INFO,
    "retry": logging.WARNING,
    "snooze": logging.INFO,
    "interrupt": logging.INFO,
    "bury": logging.ERROR,
}
