"""The limit: the least that a durable queue on PostgreSQL has to do, one step after the other.

Claim a batch with one UPDATE … SKIP LOCKED … RETURNING, call the jobs, complete the batch with one UPDATE.
No retries, no heartbeat, no fencing, no hooks, no threads: a job that fails ends the script.
"""

from __future__ import annotations

import argparse
import os
import signal
import uuid

import psycopg

CLAIM = """
    UPDATE limit_jobs
    SET status = 'processing', worker_id = %(worker)s, attempts = attempts + 1,
        started_at = now(), updated_at = now()
    WHERE id = ANY (ARRAY(
        SELECT id FROM limit_jobs
        WHERE status = 'queued' AND scheduled_at <= now()
        ORDER BY priority, scheduled_at, id
        LIMIT %(batch)s
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, job_name, args, attempts
"""
COMPLETE = """
    UPDATE limit_jobs
    SET status = 'done', worker_id = NULL, finished_at = now(), updated_at = now(),
        expires_at = now() + interval '1 day'
    WHERE id = ANY (%(ids)s)
"""


def main(batch: int) -> None:
    """Work until SIGTERM."""
    import django  # noqa: PLC0415  # only because the job's module has ORM jobs, too

    django.setup()
    from benchmarks.project.work import body  # noqa: PLC0415  # needs Django to be set up

    jobs = {"noop": body.noop, "noop_async": body.noop, "stamp": body.stamp}
    worker = uuid.uuid4()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with psycopg.connect(
        os.environ["SONIQ_BENCH_DATABASE"], autocommit=True, prepare_threshold=1
    ) as connection:
        connection.execute("LISTEN limit_jobs")
        while True:
            claimed = connection.execute(CLAIM, {"worker": worker, "batch": batch}, binary=True).fetchall()
            for _, name, args, _ in claimed:
                jobs[name](**args)
            if claimed:
                connection.execute(COMPLETE, {"ids": [row[0] for row in claimed]}, binary=True)
            else:
                for _ in connection.notifies(timeout=5, stop_after=1):
                    pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=100)
    main(parser.parse_args().batch)
