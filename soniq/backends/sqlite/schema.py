"""Tables and indexes. Times are seconds since 1970, in UTC."""

from __future__ import annotations

JOBS = """
CREATE TABLE IF NOT EXISTS soniq_jobs (
    id            TEXT PRIMARY KEY NOT NULL,
    job_name      TEXT NOT NULL,
    args_json     TEXT NOT NULL,
    args_hash     TEXT,
    status        TEXT NOT NULL,
    attempts      INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    crashes       INTEGER NOT NULL,
    priority      INTEGER NOT NULL,
    queue         TEXT NOT NULL,
    dedup_key     TEXT,
    unique_key    TEXT,
    scheduled_at  REAL NOT NULL,
    expires_at    REAL,
    last_error    TEXT,
    result_json   TEXT,
    producer_id   TEXT NOT NULL,
    worker_id     TEXT,
    created_at    REAL NOT NULL,
    updated_at    REAL NOT NULL,
    started_at    REAL,
    finished_at   REAL,
    context_json  TEXT,
    failures_json TEXT
)
"""

DEAD_LETTERS = """
CREATE TABLE IF NOT EXISTS soniq_dead_letter_jobs (
    id                      TEXT PRIMARY KEY NOT NULL,
    job_name                TEXT NOT NULL,
    args_json               TEXT NOT NULL,
    queue                   TEXT NOT NULL,
    priority                INTEGER NOT NULL,
    max_attempts            INTEGER NOT NULL,
    attempts                INTEGER NOT NULL,
    last_error              TEXT,
    dead_letter_reason      TEXT NOT NULL,
    original_created_at     REAL NOT NULL,
    moved_to_dead_letter_at REAL NOT NULL,
    resurrection_count      INTEGER NOT NULL DEFAULT 0,
    last_resurrection_at    REAL,
    tags_json               TEXT NOT NULL DEFAULT '[]',
    context_json            TEXT,
    failures_json           TEXT
)
"""

WORKERS = """
CREATE TABLE IF NOT EXISTS soniq_workers (
    id                TEXT PRIMARY KEY NOT NULL,
    hostname          TEXT NOT NULL,
    pid               INTEGER NOT NULL,
    concurrency       INTEGER NOT NULL,
    queues_json       TEXT,
    started_at        REAL NOT NULL,
    last_heartbeat_at REAL NOT NULL
)
"""

SCHEDULES = """
CREATE TABLE IF NOT EXISTS soniq_schedules (
    name                    TEXT PRIMARY KEY NOT NULL,
    job_name                TEXT NOT NULL,
    args_json               TEXT NOT NULL,
    queue                   TEXT,
    priority                INTEGER,
    cron                    TEXT,
    every                   REAL,
    timezone                TEXT NOT NULL,
    starts_at               REAL,
    ends_at                 REAL,
    misfire                 TEXT NOT NULL,
    max_age                 REAL,
    overlap                 TEXT NOT NULL,
    jitter                  REAL NOT NULL,
    declared                INTEGER NOT NULL,
    definition              TEXT,
    former_definitions_json TEXT NOT NULL,
    declared_at             REAL,
    overridden              INTEGER NOT NULL,
    paused                  INTEGER NOT NULL,
    anchor_at               REAL NOT NULL,
    next_fire_at            REAL,
    last_fire_at            REAL,
    last_job_id             TEXT,
    fired                   INTEGER NOT NULL,
    skipped                 INTEGER NOT NULL,
    created_at              REAL NOT NULL,
    updated_at              REAL NOT NULL,
    version                 INTEGER NOT NULL
)
"""

# The order in which jobs are claimed: a claim reads the front of it and sorts nothing.
CLAIM_ORDER = """
CREATE INDEX IF NOT EXISTS soniq_jobs_claim_order
ON soniq_jobs (priority, scheduled_at, id) WHERE status = 'queued'
"""

HELD = """
CREATE INDEX IF NOT EXISTS soniq_jobs_held
ON soniq_jobs (worker_id) WHERE status = 'processing'
"""

EXPIRY = """
CREATE INDEX IF NOT EXISTS soniq_jobs_expiry
ON soniq_jobs (expires_at) WHERE expires_at IS NOT NULL
"""

# A job gives its key up when it stops being live, so this holds among live jobs.
UNIQUE_KEYS = """
CREATE UNIQUE INDEX IF NOT EXISTS soniq_jobs_unique_key
ON soniq_jobs (unique_key) WHERE unique_key IS NOT NULL
"""

MOVED = """
CREATE INDEX IF NOT EXISTS soniq_dead_letter_jobs_moved
ON soniq_dead_letter_jobs (moved_to_dead_letter_at, id)
"""

# Paused and ended schedules have no next fire time, and no place here.
FIRE_ORDER = """
CREATE INDEX IF NOT EXISTS soniq_schedules_fire_order
ON soniq_schedules (next_fire_at, name) WHERE next_fire_at IS NOT NULL
"""

SCHEMA = (
    JOBS,
    DEAD_LETTERS,
    WORKERS,
    SCHEDULES,
    CLAIM_ORDER,
    HELD,
    EXPIRY,
    UNIQUE_KEYS,
    MOVED,
    FIRE_ORDER,
)
TABLES = ("soniq_jobs", "soniq_dead_letter_jobs", "soniq_workers", "soniq_schedules")
