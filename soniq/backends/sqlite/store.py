# ruff: noqa: D102  (the contract documents the methods)
# ruff: noqa: S608  (the statements are put together from constants; values are parameters)
"""The storage contract on the tables of one SQLite file."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from soniq.backend import StorageBackend
from soniq.backends.sqlite import filters, rows, statements, writing
from soniq.backends.sqlite.connections import Connections
from soniq.backends.sqlite.dead_letters import DeadLetterTable
from soniq.backends.sqlite.schedules import ScheduleTable
from soniq.backends.sqlite.schema import SCHEMA, TABLES
from soniq.jobs import Claim, ClaimRequest, JobStatus, NewJob, WorkerInfo
from soniq.records import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterStats,
    Job,
    LiveJobs,
    OverdueJob,
    WorkerRecord,
)
from soniq.schedule_records import Schedule, ScheduleChange, ScheduleFilter
from soniq.transitions import Change

P = ParamSpec("P")
T = TypeVar("T")


class SQLiteBackend(StorageBackend):
    """Jobs in a file that threads and processes of one machine share.

    :param path: the file; its directory must exist
    :param clock: seconds since 1970
    :param busy_timeout: seconds to wait while another program writes
    """

    supports_processes = True
    supports_persistence = True
    supports_transactions = False
    blocking = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        clock: Callable[[], float] = time.time,
        *,
        busy_timeout: float = 5.0,
    ) -> None:
        self._clock = clock
        self._path = Path(path)
        self._connections = Connections(self._path, busy_timeout)
        self._dead_letters = DeadLetterTable(self._connections, self._now)
        self._schedules = ScheduleTable(self._connections, self._now)
        self._executors: dict[int, ThreadPoolExecutor] = {}  # by process: threads survive no fork

    def _now(self) -> float:
        """To the microsecond: what a record says is exactly what is stored."""
        return rows.instant(self._clock()).timestamp()

    # -- life of the store

    def describe(self) -> str:
        return f"{self._path} (SQLite)"

    def setup(self) -> None:
        self._connections.create_file()
        with self._connections.writing() as db:
            for statement in SCHEMA:
                db.execute(statement)

    def close(self) -> None:
        # Not waited for: close() may itself have been called through run().
        for executor in self._executors.values():
            executor.shutdown(wait=False)
        self._connections.close()

    def release(self) -> None:
        self._connections.release()

    def reset(self) -> None:
        with self._connections.writing() as db:
            for table in TABLES:
                db.execute(f"DELETE FROM {table}")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        executor = self._executors.get(os.getpid())
        if executor is None:
            new = ThreadPoolExecutor(1, thread_name_prefix="soniq-sqlite")
            executor = self._executors.setdefault(os.getpid(), new)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, partial(call, *args, **kwargs))

    # -- producing

    def enqueue(self, jobs: Iterable[NewJob]) -> list[str]:
        complete = list(jobs)  # a generator must not run while the write lock is held
        if not complete:
            return []
        with self._connections.writing() as db:
            now = self._now()
            return [writing.insert(db, job, now) for job in complete]

    # -- consuming

    def claim(self, request: ClaimRequest) -> list[Claim]:
        if request.limit < 1:
            return []  # to SQLite a negative limit is none at all
        worker_id = request.worker_id
        where, values = filters.claimable(
            request.queues,
            request.names,
            not_of_worker=worker_id if request.skip_own else None,
            crashed=request.crashed,
        )
        due = f"FROM soniq_jobs WHERE {where} AND scheduled_at <= :now"
        values["now"] = self._now()
        with self._connections.reading() as db:
            if db.execute(f"SELECT 1 {due} LIMIT 1", values).fetchone() is None:
                return []  # an idle worker does not take the write lock
        with self._connections.writing() as db:
            values |= {"now": self._now(), "limit": request.limit}
            found = db.execute(f"SELECT id {due} ORDER BY priority, scheduled_at, id LIMIT :limit", values)
            taken = [{"id": row["id"], "worker_id": worker_id, "now": values["now"]} for row in found]
            db.executemany(statements.TAKE, taken)
            read = f"SELECT {rows.CLAIM_COLUMNS} FROM soniq_jobs WHERE id = :id"
            return [rows.claim(db.execute(read, one).fetchone()) for one in taken]

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        if not changes:
            return []
        with self._connections.writing() as db:
            now = self._now()
            return [writing.apply(db, change, now) for change in changes]

    def count_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> int:
        where, values = filters.claimable(queues, names)
        values["now"] = self._now()
        query = f"SELECT count(*) FROM soniq_jobs WHERE {where} AND scheduled_at <= :now"
        return int(self._read(query, values)[0][0])

    def next_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> float | None:
        where, values = filters.claimable(queues, names)
        [row] = self._read(f"SELECT min(scheduled_at) FROM soniq_jobs WHERE {where}", values)
        return None if row[0] is None else float(row[0]) - self._now()

    def overdue(
        self, *, seconds: float, limit: int, queues: Collection[str] | None = None
    ) -> list[OverdueJob]:
        where, values = filters.claimable(queues, None)
        now = self._now()
        query = f"""
            SELECT id, job_name, queue, :now - scheduled_at AS overdue FROM soniq_jobs
            WHERE {where} AND scheduled_at <= :since
            ORDER BY priority, scheduled_at, id LIMIT :limit
        """
        values |= {"now": now, "since": now - seconds, "limit": max(limit, 0)}
        return [rows.overdue_job(row) for row in self._read(query, values)]

    # -- liveness

    def register(self, worker: WorkerInfo) -> None:
        values = {
            "id": worker.id,
            "hostname": worker.hostname,
            "pid": worker.pid,
            "concurrency": worker.concurrency,
            "queues_json": None if worker.queues is None else json.dumps(worker.queues),
        }
        self._write(statements.REGISTER, values)

    def beat(self, worker_id: str) -> bool:
        query = "UPDATE soniq_workers SET last_heartbeat_at = :now WHERE id = :id"
        return self._write(query, {"id": worker_id}) > 0

    def deregister(self, worker_id: str) -> None:
        self._write("DELETE FROM soniq_workers WHERE id = :id", {"id": worker_id})

    def orphans(self, *, dead_after: float, limit: int) -> list[Claim]:
        values = {"alive_since": self._now() - dead_after, "limit": limit}
        return [rows.claim(row) for row in self._read(statements.ORPHANS, values)]

    def held(self, worker_id: str) -> list[Claim]:
        return [rows.claim(row) for row in self._read(statements.HELD, {"worker_id": worker_id})]

    def forget_workers(self, *, dead_after: float) -> int:
        return self._write(statements.FORGET, {"alive_since": self._now() - dead_after})

    def list_workers(self) -> list[WorkerRecord]:
        query = f"SELECT {rows.WORKER_COLUMNS} FROM soniq_workers ORDER BY started_at, id"
        return [rows.worker(row) for row in self._read(query)]

    # -- reading and housekeeping

    def get_job(self, job_id: str) -> Job | None:
        query = f"SELECT {rows.JOB_COLUMNS} FROM soniq_jobs WHERE id = :id"
        found = self._read(query, {"id": job_id})
        return rows.job(found[0]) if found else None

    def list_jobs(
        self,
        *,
        queue: str | None = None,
        status: JobStatus | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Job]:
        where, values = filters.listed(queue, status)
        query = f"""
            SELECT {rows.JOB_COLUMNS} FROM soniq_jobs WHERE {where}
            ORDER BY id DESC LIMIT :limit OFFSET :offset
        """
        values |= {"limit": limit, "offset": offset}
        return [rows.job(row) for row in self._read(query, values)]

    def count_live(self) -> list[LiveJobs]:
        return [rows.live_jobs(row) for row in self._read(statements.LIVE)]

    def walk_live(self, *, after: str | None = None, limit: int) -> list[Job]:
        values = {"after": after or "", "limit": limit}
        return [rows.job(row) for row in self._read(statements.WALK_LIVE, values)]

    def delete_job(self, job_id: str) -> bool:
        return self._write("DELETE FROM soniq_jobs WHERE id = :id", {"id": job_id}) > 0

    def queue_stats(self) -> dict[str, int]:
        found = {row["kind"]: row["number"] for row in self._read(statements.COUNTS)}
        stats = {kind: found.get(kind, 0) for kind in (*map(str, JobStatus), "dead_letter")}
        return {**stats, "total": sum(stats.values())}

    def purge(self, *, limit: int, dead_letter_ttl: float | None = None) -> int:
        purged = self._write(statements.PURGE, {"limit": limit})
        if dead_letter_ttl is not None:
            purged += self._dead_letters.purge(dead_letter_ttl, limit)
        return purged

    # -- dead letters

    def list_dead_letters(self, where: DeadLetterFilter) -> list[DeadLetter]:
        return self._dead_letters.find(where)

    def delete_dead_letters(self, where: DeadLetterFilter) -> int:
        return self._dead_letters.delete(where)

    def replay_dead_letter(self, dead_letter_id: str, job: NewJob) -> str | None:
        return self._dead_letters.replay(dead_letter_id, job)

    def tag_dead_letter(self, dead_letter_id: str, tags: Sequence[str]) -> bool:
        return self._dead_letters.tag(dead_letter_id, tags)

    def dead_letter_stats(self, *, hours: float | None = None) -> DeadLetterStats:
        return self._dead_letters.stats(0.0 if hours is None else self._now() - hours * 3600)

    # -- schedules

    def now(self) -> datetime:
        return rows.instant(self._now())

    def list_schedules(self, names: Collection[str] | None = None) -> list[Schedule]:
        return self._schedules.named(names)

    def due_schedules(self, where: ScheduleFilter, *, limit: int) -> list[Schedule]:
        return self._schedules.due(where, limit)

    def upcoming_schedules(self, where: ScheduleFilter) -> float | None:
        return self._schedules.upcoming(where)

    def write_schedules(self, changes: Sequence[ScheduleChange]) -> list[list[str] | None]:
        return self._schedules.write(changes)

    # -- one statement

    def _read(self, query: str, values: dict[str, Any] | None = None) -> list[sqlite3.Row]:
        with self._connections.reading() as db:
            return db.execute(query, values or {}).fetchall()

    def _write(self, statement: str, values: dict[str, Any]) -> int:
        """Run ``statement`` in a transaction of its own; return how many rows it wrote."""
        with self._connections.writing() as db:
            return db.execute(statement, {**values, "now": self._now()}).rowcount
