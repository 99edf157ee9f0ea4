"""Rows to values: the columns that are read, and what is made of them."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from soniq.backends.stored import decoded, failed_attempts
from soniq.jobs import Claim, DeadLetterReason, JobStatus
from soniq.records import DeadLetter, Job, LiveJobs, OverdueJob, WorkerRecord

CLAIM_COLUMNS = """
    id, worker_id, attempts, job_name, args_json, queue, priority, max_attempts, crashes,
    scheduled_at, created_at, context_json
"""

JOB_COLUMNS = """
    id, job_name, args_json, args_hash, status, attempts, max_attempts, crashes, priority, queue,
    dedup_key, scheduled_at, expires_at, last_error, result_json, producer_id, worker_id,
    created_at, updated_at, started_at, finished_at, context_json, failures_json
"""

DEAD_LETTER_COLUMNS = """
    id, job_name, args_json, queue, priority, max_attempts, attempts, last_error,
    dead_letter_reason, original_created_at, moved_to_dead_letter_at, resurrection_count,
    last_resurrection_at, tags_json, context_json, failures_json
"""

WORKER_COLUMNS = """
    id, hostname, pid, concurrency, queues_json, started_at, last_heartbeat_at
"""


def instant(seconds: float) -> datetime:
    """Seconds as an aware time."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def instant_or_none(seconds: float | None) -> datetime | None:
    """The same for a column that may be empty."""
    return None if seconds is None else instant(seconds)


def claim(row: sqlite3.Row) -> Claim:
    """A row of a job that is processing."""
    return Claim(
        job_id=row["id"],
        worker_id=row["worker_id"],
        attempt=row["attempts"],
        job_name=row["job_name"],
        args=decoded(row["args_json"]),
        queue=row["queue"],
        priority=row["priority"],
        max_attempts=row["max_attempts"],
        crashes=row["crashes"],
        scheduled_at=instant(row["scheduled_at"]),
        created_at=instant(row["created_at"]),
        context=decoded(row["context_json"]),
    )


def job(row: sqlite3.Row) -> Job:
    """A row of the jobs."""
    return Job(
        id=row["id"],
        job_name=row["job_name"],
        args=decoded(row["args_json"]),
        args_hash=row["args_hash"],
        status=JobStatus(row["status"]),
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        crashes=row["crashes"],
        priority=row["priority"],
        queue=row["queue"],
        dedup_key=row["dedup_key"],
        scheduled_at=instant(row["scheduled_at"]),
        expires_at=instant_or_none(row["expires_at"]),
        last_error=row["last_error"],
        result=decoded(row["result_json"]),
        producer_id=row["producer_id"],
        worker_id=row["worker_id"],
        created_at=instant(row["created_at"]),
        updated_at=instant(row["updated_at"]),
        started_at=instant_or_none(row["started_at"]),
        finished_at=instant_or_none(row["finished_at"]),
        context=decoded(row["context_json"]),
        failures=failed_attempts(decoded(row["failures_json"])),
    )


def live_jobs(row: sqlite3.Row) -> LiveJobs:
    """A row of counted jobs."""
    return LiveJobs(
        job_name=row["job_name"],
        queue=row["queue"],
        status=JobStatus(row["status"]),
        count=row["number"],
        oldest=instant(row["oldest"]),
    )


def overdue_job(row: sqlite3.Row) -> OverdueJob:
    """A row of a job that is due."""
    return OverdueJob(job_id=row["id"], job_name=row["job_name"], queue=row["queue"], overdue=row["overdue"])


def dead_letter(row: sqlite3.Row) -> DeadLetter:
    """A row of the dead letters."""
    return DeadLetter(
        id=row["id"],
        job_name=row["job_name"],
        args=decoded(row["args_json"]),
        queue=row["queue"],
        priority=row["priority"],
        max_attempts=row["max_attempts"],
        attempts=row["attempts"],
        last_error=row["last_error"],
        dead_letter_reason=DeadLetterReason(row["dead_letter_reason"]),
        original_created_at=instant(row["original_created_at"]),
        moved_to_dead_letter_at=instant(row["moved_to_dead_letter_at"]),
        resurrection_count=row["resurrection_count"],
        last_resurrection_at=instant_or_none(row["last_resurrection_at"]),
        tags=tuple(decoded(row["tags_json"])),
        context=decoded(row["context_json"]),
        failures=failed_attempts(decoded(row["failures_json"])),
    )


def worker(row: sqlite3.Row) -> WorkerRecord:
    """A row of the workers."""
    queues = decoded(row["queues_json"])
    return WorkerRecord(
        id=row["id"],
        hostname=row["hostname"],
        pid=row["pid"],
        concurrency=row["concurrency"],
        queues=None if queues is None else tuple(queues),
        started_at=instant(row["started_at"]),
        last_heartbeat_at=instant(row["last_heartbeat_at"]),
    )
