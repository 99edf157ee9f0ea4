# ruff: noqa: S608  (the statements are put together from constants; values are parameters)
"""The statements that do not depend on a filter. All values are named parameters."""

from __future__ import annotations

from soniq.backends.sqlite import rows

INSERT = """
INSERT INTO soniq_jobs (
    id, job_name, args_json, args_hash, status, attempts, max_attempts, crashes, priority, queue,
    dedup_key, unique_key, scheduled_at, producer_id, created_at, updated_at, context_json
) VALUES (
    :id, :job_name, :args_json, :args_hash, 'queued', 0, :max_attempts, 0, :priority, :queue,
    :dedup_key, :unique_key, :scheduled_at, :producer_id, :now, :now, :context_json
) ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL DO NOTHING
"""

TAKE = """
UPDATE soniq_jobs
SET status = 'processing', attempts = attempts + 1, worker_id = :worker_id,
    started_at = :now, updated_at = :now
WHERE id = :id
"""

# The two guards of a change; each is put behind one of the statements that follow.
IS_CLAIMED = """
WHERE id = :job_id AND status = 'processing' AND worker_id = :worker_id AND attempts = :attempt
"""
IS_QUEUED = """
WHERE id = :job_id AND status = 'queued' AND (NOT :overdue OR scheduled_at <= :now - :overdue)
"""

# A value that is not given stays as it is; what belongs to an end only is cleared without one.
CHANGE = """
UPDATE soniq_jobs
SET status = :status, attempts = coalesce(:attempts, attempts),
    crashes = coalesce(:crashes, crashes), last_error = coalesce(:error, last_error),
    scheduled_at = iif(:sooner, min(scheduled_at, :scheduled_at), coalesce(:scheduled_at, scheduled_at)),
    result_json = :result_json, failures_json = coalesce(:failures_json, failures_json),
    unique_key = iif(:live, unique_key, NULL),
    finished_at = :finished_at, expires_at = :expires_at, updated_at = :now
"""

MOVE = """
INSERT INTO soniq_dead_letter_jobs (
    id, job_name, args_json, queue, priority, max_attempts, attempts, last_error,
    dead_letter_reason, original_created_at, moved_to_dead_letter_at, context_json, failures_json
)
SELECT id, job_name, args_json, queue, priority, max_attempts, coalesce(:attempts, attempts),
    coalesce(:error, last_error), :reason, created_at, :now,
    context_json, coalesce(:failures_json, failures_json)
FROM soniq_jobs
"""

HISTORY = "SELECT failures_json, started_at FROM soniq_jobs WHERE id = :job_id"

REGISTER = """
INSERT INTO soniq_workers (
    id, hostname, pid, concurrency, queues_json, started_at, last_heartbeat_at
) VALUES (:id, :hostname, :pid, :concurrency, :queues_json, :now, :now)
ON CONFLICT (id) DO UPDATE
SET hostname = :hostname, pid = :pid, concurrency = :concurrency, queues_json = :queues_json,
    last_heartbeat_at = :now
"""

ORPHANS = f"""
SELECT {rows.CLAIM_COLUMNS} FROM soniq_jobs
WHERE status = 'processing' AND NOT EXISTS (
    SELECT 1 FROM soniq_workers
    WHERE soniq_workers.id = soniq_jobs.worker_id AND last_heartbeat_at >= :alive_since
)
ORDER BY id LIMIT :limit
"""

HELD = f"""
SELECT {rows.CLAIM_COLUMNS} FROM soniq_jobs
WHERE status = 'processing' AND worker_id = :worker_id
ORDER BY id
"""

FORGET = """
DELETE FROM soniq_workers
WHERE last_heartbeat_at < :alive_since AND NOT EXISTS (
    SELECT 1 FROM soniq_jobs WHERE status = 'processing' AND worker_id = soniq_workers.id
)
"""

PURGE = """
DELETE FROM soniq_jobs WHERE id IN (
    SELECT id FROM soniq_jobs WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit
)
"""

PURGE_DEAD_LETTERS = """
DELETE FROM soniq_dead_letter_jobs WHERE id IN (
    SELECT id FROM soniq_dead_letter_jobs WHERE moved_to_dead_letter_at <= :oldest
    ORDER BY moved_to_dead_letter_at LIMIT :limit
)
"""

COUNTS = """
SELECT status AS kind, count(*) AS number FROM soniq_jobs GROUP BY status
UNION ALL SELECT 'dead_letter', count(*) FROM soniq_dead_letter_jobs
"""

LIVE = """
SELECT job_name, queue, status, count(*) AS number, min(created_at) AS oldest FROM soniq_jobs
WHERE status IN ('queued', 'processing')
GROUP BY job_name, queue, status ORDER BY job_name, queue, status
"""

WALK_LIVE = f"""
SELECT {rows.JOB_COLUMNS} FROM soniq_jobs
WHERE status IN ('queued', 'processing') AND id > :after
ORDER BY id LIMIT :limit
"""

RESURRECT = """
UPDATE soniq_dead_letter_jobs
SET resurrection_count = resurrection_count + 1, last_resurrection_at = :now WHERE id = :id
"""
