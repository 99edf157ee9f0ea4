"""What is written of a job, within a transaction of the caller."""

from __future__ import annotations

import sqlite3

from soniq.backends.sqlite import rows, statements
from soniq.backends.stored import decoded, with_failure
from soniq.jobs import NewJob
from soniq.transitions import Change


def insert(db: sqlite3.Connection, job: NewJob, now: float) -> str:
    """Store ``job`` unless a live job holds its key; return the id of the job that is stored."""
    due = now + job.delay if job.scheduled_at is None else job.scheduled_at.timestamp()
    values = {
        "id": job.id,
        "job_name": job.job_name,
        "args_json": job.args_json,
        "args_hash": job.args_hash,
        "max_attempts": job.max_attempts,
        "priority": job.priority,
        "queue": job.queue,
        "dedup_key": job.dedup_key,
        "unique_key": job.unique_key,
        "scheduled_at": due,
        "producer_id": job.producer_id,
        "context_json": job.context_json,
        "now": now,
    }
    if db.execute(statements.INSERT, values).rowcount == 1:
        return job.id
    holder = "SELECT id FROM soniq_jobs WHERE unique_key = :unique_key"
    return str(db.execute(holder, values).fetchone()["id"])


def apply(db: sqlite3.Connection, change: Change, now: float) -> bool:
    """Write the change; False if its guard does not hold."""
    guard = statements.IS_QUEUED if change.worker_id is None else statements.IS_CLAIMED
    live = change.status is not None and change.status.live
    values = {
        "job_id": change.job_id,
        "worker_id": change.worker_id,
        "attempt": change.attempt,
        "overdue": change.overdue,
        "status": change.status,
        "attempts": change.attempts,
        "crashes": change.crashes,
        "error": change.error,
        "result_json": change.result_json,
        "reason": change.reason,
        "failures_json": None if change.failure is None else _history(db, change, now),
        "live": live,
        "scheduled_at": now + change.delay if live else None,
        "sooner": change.sooner,
        "finished_at": None if live else now,
        "expires_at": None if live or change.ttl is None else now + change.ttl,
        "now": now,
    }
    if change.status is not None:
        return db.execute(statements.CHANGE + guard, values).rowcount == 1
    if db.execute(statements.MOVE + guard, values).rowcount == 0:
        return False
    db.execute("DELETE FROM soniq_jobs WHERE id = :job_id", values)
    return True


def _history(db: sqlite3.Connection, change: Change, now: float) -> str | None:
    """The history of the job with the failure of the change; None when there is no such job."""
    row = db.execute(statements.HISTORY, {"job_id": change.job_id}).fetchone()
    if row is None:
        return None
    return with_failure(
        decoded(row["failures_json"]),
        change,
        started_at=rows.instant_or_none(row["started_at"]),
        at=rows.instant(now),
    )
