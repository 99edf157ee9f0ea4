# ruff: noqa: S608  (the statements are put together from constants; values are parameters)
"""The table of dead letters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence

from soniq.backends.sqlite import filters, rows, statements, writing
from soniq.backends.sqlite.connections import Connections
from soniq.jobs import NewJob
from soniq.records import DeadLetter, DeadLetterFilter, DeadLetterStats


class DeadLetterTable:
    """Dead letters as the contract wants them. Each call is a transaction.

    :param now: seconds since 1970
    """

    def __init__(self, connections: Connections, now: Callable[[], float]) -> None:
        self._connections = connections
        self._now = now

    def find(self, where: DeadLetterFilter) -> list[DeadLetter]:
        """Those that are meant, newest first."""
        meant, values = filters.dead_letters(where)
        with self._connections.reading() as db:
            found = db.execute(f"SELECT {rows.DEAD_LETTER_COLUMNS} {meant}", values)
            return [rows.dead_letter(row) for row in found]

    def delete(self, where: DeadLetterFilter) -> int:
        """Delete what :meth:`find` would find; how many went."""
        meant, values = filters.dead_letters(where)
        query = f"DELETE FROM soniq_dead_letter_jobs WHERE id IN (SELECT id {meant})"
        with self._connections.writing() as db:
            return db.execute(query, values).rowcount

    def purge(self, older_than: float, limit: int) -> int:
        """Delete up to ``limit`` of those that are so many seconds old; how many went."""
        with self._connections.writing() as db:
            values = {"oldest": self._now() - older_than, "limit": limit}
            return db.execute(statements.PURGE_DEAD_LETTERS, values).rowcount

    def replay(self, dead_letter_id: str, job: NewJob) -> str | None:
        """Store the job and count one resurrection; None: there is no such dead letter."""
        with self._connections.writing() as db:
            dead = {"id": dead_letter_id, "now": self._now()}
            known = "SELECT 1 FROM soniq_dead_letter_jobs WHERE id = :id"
            if db.execute(known, dead).fetchone() is None:
                return None
            job_id = writing.insert(db, job, self._now())
            if job_id == job.id:
                db.execute(statements.RESURRECT, dead)
            return job_id

    def tag(self, dead_letter_id: str, tags: Sequence[str]) -> bool:
        """Add tags after those it has, each once. False when there is no such dead letter."""
        with self._connections.writing() as db:
            read = "SELECT tags_json FROM soniq_dead_letter_jobs WHERE id = :id"
            row = db.execute(read, {"id": dead_letter_id}).fetchone()
            if row is None:
                return False
            all_tags = list(dict.fromkeys([*json.loads(row["tags_json"]), *tags]))
            db.execute(
                "UPDATE soniq_dead_letter_jobs SET tags_json = :tags_json WHERE id = :id",
                {"id": dead_letter_id, "tags_json": json.dumps(all_tags)},
            )
            return True

    def stats(self, since: float) -> DeadLetterStats:
        """Counts of those that came at ``since`` or later."""
        query = """
            SELECT dead_letter_reason, job_name, queue, count(*) AS number
            FROM soniq_dead_letter_jobs WHERE moved_to_dead_letter_at >= :since
            GROUP BY dead_letter_reason, job_name, queue
        """
        by_reason, by_job_name, by_queue = Counter[str](), Counter[str](), Counter[str]()
        with self._connections.reading() as db:
            for row in db.execute(query, {"since": since}):
                by_reason[row["dead_letter_reason"]] += row["number"]
                by_job_name[row["job_name"]] += row["number"]
                by_queue[row["queue"]] += row["number"]
        return DeadLetterStats(
            total=by_reason.total(),
            by_reason=dict(by_reason),
            by_job_name=dict(by_job_name),
            by_queue=dict(by_queue),
        )
