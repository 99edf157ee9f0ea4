"""The statements of the hot path on PostgreSQL. :mod:`soniq_django.store.postgres` says when each is used."""

# ruff: noqa: S608  # all that is put together here are constants of this module; values are parameters

COLUMNS = (
    "id, job_name, queue, priority, status, args, args_hash, dedup_key, unique_key, attempts,"
    " max_attempts, crashes, scheduled_at, created_at, updated_at, producer_id, context"
)
# With statistics from a time when few jobs waited, the planner would collect and sort all that wait now, at
# every claim, instead of walking along the claim index. And a plan that is made once has to hold for all
# that comes, so it must not depend on what is there when it is made.
# A worker that freezes between two statements would hold its locks for as long as its connection stays
# open; so the server ends such a transaction after a while, and its jobs can be rescued. In the middle of a
# pipeline it does not count as idle, and only PostgreSQL 17 and later can end that, too.
# The level of isolation is that of statements outside of transactions; see soniq_django.store.session.
SETTINGS = """
SELECT set_config('enable_bitmapscan', 'off', %(local)s), set_config('enable_seqscan', 'off', %(local)s),
       set_config('enable_sort', 'off', %(local)s),
       set_config('plan_cache_mode', 'force_generic_plan', %(local)s),
       set_config('default_transaction_isolation', 'read committed', %(local)s),
       set_config('idle_in_transaction_session_timeout', '5s', %(local)s)
"""
SETTINGS_17 = f"{SETTINGS.rstrip()}, set_config('transaction_timeout', '20s', %(local)s)"

NOW = "statement_timestamp()"
DUE = f"coalesce(%s::timestamptz, {NOW} + %s * interval '1 second')"

INSERT_ONE = f"""
INSERT INTO soniq_jobs ({COLUMNS})
VALUES (%s, %s, %s, %s, 'queued', %s, NULL, NULL, NULL, 0, %s, 0, {NOW}, {NOW}, {NOW}, %s, %s)
"""

# In one message: the insert commits, and then the workers are told, at the price of one round trip.
INSERT_ONE_AND_HINT = f"BEGIN; {INSERT_ONE}; COMMIT; SELECT pg_notify(%s, %s)"

# What is not named here has its default: the times are now, by the database's clock.
COPY = """
COPY soniq_jobs (id, args, job_name, queue, priority, status, attempts, max_attempts, crashes, producer_id,
                 context)
FROM STDIN
"""

INSERT_MANY = f"""
INSERT INTO soniq_jobs ({COLUMNS})
SELECT new.id, %s, %s, %s, 'queued', new.args, new.args_hash, new.dedup_key, new.unique_key, 0,
       %s, 0, {DUE}, {NOW}, {NOW}, %s, %s::jsonb
FROM unnest(%s::uuid[], %s::jsonb[], %s::text[], %s::text[], %s::text[])
     AS new (id, args, args_hash, dedup_key, unique_key)
"""
INSERT_FREE = f"{INSERT_MANY} ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL DO NOTHING"

TAKE = """
UPDATE soniq_jobs
SET status = 'processing', worker_id = %(worker)s, attempts = attempts + 1,
    started_at = statement_timestamp(), updated_at = statement_timestamp()
WHERE id = ANY(ARRAY({due}))
RETURNING id::text, job_name, args::text, queue, priority, attempts, max_attempts, crashes,
          scheduled_at, created_at, context::text
"""

# Behind the mark: one range of the claim index.
AFTER = """
    SELECT id FROM soniq_jobs
    WHERE status = 'queued' AND priority = %(known)s {filters}
      AND (scheduled_at, id) > (%(scheduled_at)s, %(id)s)
      AND scheduled_at <= statement_timestamp()
    ORDER BY scheduled_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""

# The priorities that queued jobs have, one probe of the index each. That of the mark is known, so no
# probe has to walk over what was claimed there.
LEVELS = """
    WITH RECURSIVE level (priority) AS (
        SELECT coalesce(
            (SELECT priority FROM soniq_jobs
             WHERE status = 'queued' AND priority < %(known)s {queue}
             ORDER BY priority LIMIT 1),
            %(known)s::smallint)
        UNION ALL
        SELECT CASE WHEN level.priority < %(known)s THEN coalesce(
            (SELECT priority FROM soniq_jobs
             WHERE status = 'queued' {queue}
               AND priority > level.priority AND priority < %(known)s
             ORDER BY priority LIMIT 1),
            %(known)s::smallint)
        ELSE
            (SELECT priority FROM soniq_jobs
             WHERE status = 'queued' AND priority > level.priority {queue}
             ORDER BY priority LIMIT 1)
        END
        FROM level WHERE level.priority IS NOT NULL
    )
"""

# Those before the priority of the mark.
LEVELS_ABOVE = """
    WITH RECURSIVE level (priority) AS (
        SELECT (SELECT priority FROM soniq_jobs
                WHERE status = 'queued' AND priority < %(known)s {queue}
                ORDER BY priority LIMIT 1)
        UNION ALL
        SELECT (SELECT priority FROM soniq_jobs
                WHERE status = 'queued' AND priority > level.priority AND priority < %(known)s {queue}
                ORDER BY priority LIMIT 1)
        FROM level WHERE level.priority IS NOT NULL
    )
"""

# The same for several queues: the priorities of each.
LEVELS_OF_QUEUES = """
    WITH RECURSIVE level (queue, priority) AS (
        SELECT named.queue, (SELECT j.priority FROM soniq_jobs j
                             WHERE j.status = 'queued' AND j.queue = named.queue
                             ORDER BY j.priority LIMIT 1)
        FROM unnest(%(queues)s::text[]) AS named (queue)
        UNION ALL
        SELECT level.queue, (SELECT j.priority FROM soniq_jobs j
                             WHERE j.status = 'queued' AND j.queue = level.queue
                               AND j.priority > level.priority
                             ORDER BY j.priority LIMIT 1)
        FROM level WHERE level.priority IS NOT NULL
    )
"""

# From the front, level by level, until there are enough.
FRONT = """
    {levels}
    SELECT due.id FROM level CROSS JOIN LATERAL (
        SELECT id FROM soniq_jobs
        WHERE status = 'queued' AND priority = level.priority {filters}
          AND scheduled_at <= statement_timestamp()
        ORDER BY scheduled_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) due
    LIMIT %(limit)s
"""

# The same for several queues: each level gives its first, the best of all are taken.
FRONT_OF_QUEUES = """
    {levels}
    SELECT due.id FROM level CROSS JOIN LATERAL (
        SELECT id, priority, scheduled_at FROM soniq_jobs
        WHERE status = 'queued' AND priority = level.priority {filters}
          AND scheduled_at <= statement_timestamp()
        ORDER BY scheduled_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) due
    ORDER BY due.priority, due.scheduled_at, due.id LIMIT %(limit)s
"""

NEXT_DUE = """
    {levels}
    SELECT extract(epoch FROM min(first.scheduled_at) - statement_timestamp())::float8
    FROM level CROSS JOIN LATERAL (
        SELECT scheduled_at FROM soniq_jobs
        WHERE status = 'queued' AND priority = level.priority {filters}
        ORDER BY scheduled_at LIMIT 1
    ) first
"""

# By the index of held jobs, which the planner would take, this goes through all that the worker holds and all
# entries that are not vacuumed yet, and looks for each of them in the list of ids from its start. As an
# expression, the status fits no partial index: what is left is the primary key.
FINISH = f"""
UPDATE soniq_jobs
SET status = %(status)s, updated_at = {NOW}, finished_at = {NOW}, unique_key = NULL,
    expires_at = {NOW} + %(ttl)s * interval '1 second'
WHERE id = ANY(%(ids)s::uuid[]) AND status || '' = 'processing'
  AND worker_id = %(worker)s AND attempts = %(attempt)s
RETURNING id::text
"""
FINISH_WITH_RESULTS = FINISH.replace(
    "unique_key = NULL,", "unique_key = NULL, result = %(results)s::jsonb -> id::text,"
)
