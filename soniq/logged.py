"""What log records say of jobs: the same words, and the same facts in ``extra``, wherever they are written.

The text of each line about a job holds its id, so a search for the id tells its life.
"""

from __future__ import annotations

from soniq.jobs import Claim, NewJob
from soniq.steady import get_logger

_enqueue = get_logger("soniq.enqueue")
_worker = get_logger("soniq.worker")


def facts_of(claim: Claim) -> dict[str, object]:
    """What every record about an attempt has in ``extra``."""
    return {
        "job_id": claim.job_id,
        "job_name": claim.job_name,
        "queue": claim.queue,
        "attempt": claim.attempt,
        "worker_id": claim.worker_id,
    }


def log_enqueued(job: NewJob, stored_id: str) -> None:
    """A job was written, or another one stands for it. For level DEBUG; the caller asks whether it is on."""
    held = "" if stored_id == job.id else " (held by a live job; nothing was stored)"
    _enqueue.debug(
        "enqueued  %s %s%s",
        job.job_name,
        stored_id,
        held,
        extra={"job_id": stored_id, "job_name": job.job_name, "queue": job.queue},
    )


def log_start(claim: Claim) -> None:
    """An attempt begins. As :func:`log_enqueued`."""
    _worker.debug(
        "start     %s %s (attempt %d of %d)",
        claim.job_name,
        claim.job_id,
        claim.attempt,
        claim.max_attempts,
        extra=facts_of(claim),
    )
