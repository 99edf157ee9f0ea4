"""Enqueue, claim and apply in SQL, for PostgreSQL through psycopg 3.

What the SQL knows that the ORM cannot say:

- **The claim is one statement**, an UPDATE of the ids that a sub-select locked with SKIP LOCKED.
- **It goes through the priorities one by one** (a loose index scan, by recursion). One scan in order of
  (priority, scheduled_at) would walk over all delayed jobs of a priority to reach the next one.
- **It remembers where it was.** While an old transaction is open somewhere (a backup, a report), index
  entries of claimed jobs cannot be removed, and a claim from the start walks over all of them. So a
  worker's next claim starts behind the last row it took. Higher priorities are looked at every
  ``ABOVE_EVERY`` seconds. What sorts before the mark within its priority (an enqueue that took long to
  commit, an earlier time) is found by a claim from the front: whenever the mark leads to too few rows,
  and ever more rarely, from ``FRONT_EVERY`` to ``FRONT_AT_LEAST_EVERY`` seconds, while none is found.
- **Outcomes of one kind share one UPDATE.** ``= ANY(array)`` stays cheap per row as batches grow, where a
  join with ``unnest`` does not.
- **Recording and claiming are one transaction, sent as one pipeline**: one round trip and one flush.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, cast

import psycopg
from django.db import DatabaseError, IntegrityError

from soniq.backends.stored import decoded
from soniq.jobs import Claim, ClaimRequest, JobStatus, NewJob
from soniq.transitions import Change
from soniq_django.store import sql
from soniq_django.store.errors import translated
from soniq_django.store.orm import OrmStatements
from soniq_django.store.session import OwnSessions
from soniq_django.times import aware

logger = logging.getLogger("soniq.enqueue")

WORTH_COPYING = 20  # jobs
MARKS = 100  # workers that one process may have had, before it forgets their marks
ABOVE_EVERY = 0.05  # seconds; bounds how long a job of a higher priority than the mark's can be overlooked
FRONT_EVERY = 0.05  # seconds; the same for one that sorts before the mark within its priority ...
FRONT_AT_LEAST_EVERY = 1.0  # ... when such jobs have been rare


@dataclass(frozen=True, slots=True)
class _Mark:
    """The last row that a worker took, in the order of the claim index."""

    priority: int
    scheduled_at: datetime
    id: str
    above_at: float  # when a claim last looked at the higher priorities; monotonic seconds
    front_at: float  # when a claim last started from the front; monotonic seconds
    front_every: float = FRONT_EVERY  # seconds until the next one does

    def moved_to(self, claim: Claim) -> _Mark:
        """The mark after a claim that ended there."""
        return replace(self, priority=claim.priority, scheduled_at=claim.scheduled_at, id=claim.job_id)

    def patience_after(self, claims: list[Claim]) -> float:
        """How long to wait after a look to the front that found these."""
        if claims and _in_order(claims[0]) < (self.priority, self.scheduled_at, self.id):
            return FRONT_EVERY
        return min(self.front_every * 2, FRONT_AT_LEAST_EVERY)


class PostgresStatements(OrmStatements):
    """The hot path in SQL; what is rare is left to the ORM."""

    def __init__(self, alias: str | None = None) -> None:
        super().__init__(alias)
        self._marks: dict[str, _Mark] = {}
        self.sessions = OwnSessions()

    # -- enqueue

    def enqueue_and_hint(self, job: NewJob, channel: str) -> str:
        """Store one job in a transaction of its own, then tell the workers; in one round trip.

        Outside of any transaction, and only if :attr:`can_hint`.
        """
        values = (*_insert_one(job), channel, job.queue)
        with translated(self.alias), self.connection.cursor() as cursor:
            try:
                cursor.execute(sql.INSERT_ONE_AND_HINT, values)
            except DatabaseError as error:
                if not self._is_stored(job.id) or isinstance(error, IntegrityError):
                    raise
                logger.warning("a wake-up was not sent; the workers' poll finds the job", exc_info=True)
        return job.id

    def can_hint(self, job: NewJob) -> bool:
        """Whether :meth:`enqueue_and_hint` can do it: several statements are no prepared statement."""
        connection = self.connection
        return (
            _is_plain(job)
            and not connection.in_atomic_block
            and connection.get_autocommit()
            and not getattr(connection.features, "uses_server_side_binding", False)
        )

    def _is_stored(self, job_id: str) -> bool:
        """After an error, and outside of transactions: whether the job was committed all the same."""
        try:
            self.connection.rollback()
            return self.jobs.filter(pk=job_id).exists()
        except DatabaseError:
            return False

    def _enqueue_one(self, job: NewJob) -> str:
        if not _is_plain(job):
            self._insert([job])
            return job.id
        with translated(self.alias), self.connection.cursor() as cursor:
            cursor.execute(sql.INSERT_ONE, _insert_one(job))
        return job.id

    def _insert(self, jobs: list[NewJob], *, free_keys_only: bool = False) -> None:
        statement = sql.INSERT_FREE if free_keys_only else sql.INSERT_MANY
        with translated(self.alias), self.connection.cursor() as cursor:
            for shared, alike in groupby(jobs, key=_shared):
                group = list(alike)
                if len(group) >= WORTH_COPYING and not free_keys_only and all(map(_is_plain, group)):
                    with cursor.copy(sql.COPY) as copy:
                        copy.write(_copied(group))
                    continue
                columns = (
                    [job.id for job in group],
                    [job.args_json for job in group],
                    [job.args_hash for job in group],
                    [job.dedup_key for job in group],
                    [job.unique_key for job in group],
                )
                cursor.execute(statement, (*shared, *columns))

    # -- claim and apply

    def own_session(self) -> None:
        """See :class:`soniq_django.store.tables.Tables`."""
        with translated(self.alias):
            self.sessions.of(self.connection)

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self._claim_alone(_Asked(request))

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """See :class:`soniq.backend.StorageBackend`."""
        with self.transaction():
            return self._record(changes, None)[0]

    def exchange(self, changes: Sequence[Change], request: ClaimRequest) -> tuple[list[bool], list[Claim]]:
        """See :class:`soniq.backend.StorageBackend`."""
        asked = _Asked(request)
        if not changes:
            return [], self._claim_alone(asked)
        with translated(self.alias):
            self.sessions.of(self.connection)
        with self.transaction():
            return self._record(changes, asked)

    def next_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> float | None:
        """See :class:`soniq.backend.StorageBackend`; level by level, as a claim goes."""
        asked = _Asked(ClaimRequest(worker_id="", limit=1, queues=queues, names=names))
        if asked.nothing:
            return None
        with translated(self.alias):
            cursor = psycopg.Cursor(self.sessions.of(self.connection))
            found = cursor.execute(*asked.next_due()).fetchone()
        return None if found is None else cast("float | None", found[0])

    def _record(self, changes: Sequence[Change], asked: _Asked | None) -> tuple[list[bool], list[Claim]]:
        """Write the changes, then claim; as one pipeline. Runs in a transaction.

        Of a pipeline that fails, psycopg raises the error of the first statement that failed.
        """
        groups, others = _grouped(changes)
        written: set[str] = set()
        rare = dict(zip(map(id, others), super().apply(others), strict=True)) if others else {}
        session = self.sessions.of(self.connection)
        cursors = []
        with session.pipeline() if psycopg.Pipeline.is_supported() else nullcontext():
            if asked is not None and not self.sessions.are_set_up(session):
                self.sessions.set_up(session, local=True)
            for group in groups:
                cursor = psycopg.Cursor(session)
                cursor.execute(*group.statement())
                cursors.append(cursor)
            claims = [] if asked is None else self._claim(session, asked)
        if not others and all(
            cursor.rowcount == len(group.ids) for cursor, group in zip(cursors, groups, strict=True)
        ):
            return [True] * len(changes), claims
        for cursor in cursors:
            written.update(row[0] for row in cursor.fetchall())
        return [rare.get(id(change), change.job_id in written) for change in changes], claims

    def _claim_alone(self, asked: _Asked) -> list[Claim]:
        """A claim with nothing to record: one statement, and a transaction only where one is needed."""
        with translated(self.alias):
            session = self.sessions.of(self.connection)
            if self.connection.in_atomic_block or self.sessions.reads_committed(session):
                return self._claim(session, asked)
        with self.transaction():
            return self._claim(session, asked)

    def _claim(self, session: psycopg.Connection[Any], asked: _Asked) -> list[Claim]:
        """Behind the mark while that is allowed and enough, else from the front."""
        if asked.request.limit < 1 or asked.nothing:
            return []
        now = time.monotonic()
        mark = self._marks.get(asked.request.worker_id) if asked.follows_mark else None
        claims: list[Claim] = []
        if mark is not None and now - mark.front_at < mark.front_every:
            if now - mark.above_at >= ABOVE_EVERY:
                claims = self._take(session, asked.above(mark), asked)
                mark = replace(mark, above_at=now)
            if len(claims) < asked.request.limit:
                claims += self._take(session, asked.after(mark, asked.request.limit - len(claims)), asked)
            if len(claims) == asked.request.limit:
                self._remember(asked, mark.moved_to(claims[-1]))
                return claims
        found = self._take(session, asked.front(mark, asked.request.limit - len(claims)), asked)
        claims += found
        if claims:
            last, patience = claims[-1], FRONT_EVERY if mark is None else mark.patience_after(found)
            self._remember(asked, _Mark(last.priority, last.scheduled_at, last.job_id, now, now, patience))
        return claims

    def _remember(self, asked: _Asked, mark: _Mark) -> None:
        if asked.follows_mark:
            if len(self._marks) > MARKS:
                self._marks.clear()
            self._marks[asked.request.worker_id] = mark

    def _take(
        self, session: psycopg.Connection[Any], statement: tuple[Any, dict[str, Any]], asked: _Asked
    ) -> list[Claim]:
        cursor = psycopg.Cursor(session)
        cursor.execute(*statement, binary=True)
        claims = _claims_of(cursor.fetchall(), asked.request.worker_id)
        claims.sort(key=_in_order)
        return claims


@dataclass(frozen=True, slots=True)
class _Asked:
    """The statements of one claim."""

    request: ClaimRequest

    @property
    def nothing(self) -> bool:
        """Whether the filters let no job through."""
        return (self.request.queues is not None and not self.request.queues) or (
            self.request.names is not None and not self.request.names
        )

    @property
    def may_mark(self) -> bool:
        """Whether one range of one index serves the claim."""
        return self.request.queues is None or len(self.request.queues) == 1

    @property
    def follows_mark(self) -> bool:
        """Whether it goes on where the worker's last claim ended; the few that have crashed sort anywhere."""
        return self.may_mark and not self.request.crashed

    def front(self, mark: _Mark | None, limit: int) -> tuple[Any, dict[str, Any]]:
        """The statement that claims from the front."""
        due = self._filtered(sql.FRONT if self.may_mark else sql.FRONT_OF_QUEUES)
        known = -1 if mark is None or not self.may_mark else mark.priority
        return sql.TAKE.format(due=due), {**self._parameters, "known": known, "limit": limit}

    def above(self, mark: _Mark) -> tuple[Any, dict[str, Any]]:
        """The statement that claims of the priorities before the mark's."""
        due = self._filtered(sql.FRONT, levels=sql.LEVELS_ABOVE)
        return sql.TAKE.format(due=due), {**self._parameters, "known": mark.priority}

    def after(self, mark: _Mark, limit: int) -> tuple[Any, dict[str, Any]]:
        """The statement that claims behind the mark."""
        return sql.TAKE.format(due=self._filtered(sql.AFTER)), {
            **self._parameters,
            "known": mark.priority,
            "limit": limit,
            "scheduled_at": mark.scheduled_at,
            "id": mark.id,
        }

    def next_due(self) -> tuple[Any, dict[str, Any]]:
        """The statement that says how long the first job waits."""
        return self._filtered(sql.NEXT_DUE), {**self._parameters, "known": -1}

    def _filtered(self, statement: str, *, levels: str | None = None) -> str:
        queue = "AND queue = %(queue)s" if self.request.queues is not None and self.may_mark else ""
        filters = queue if self.may_mark else "AND queue = level.queue"
        if self.request.names is not None:
            filters += " AND job_name = ANY(%(names)s)"
        if self.request.skip_own:
            filters += " AND worker_id IS DISTINCT FROM %(worker)s"
        if self.request.crashed is not None:
            filters += " AND crashes > 0" if self.request.crashed else " AND crashes = 0"
        if levels is None:
            levels = sql.LEVELS if self.may_mark else sql.LEVELS_OF_QUEUES
        return statement.format(levels=levels.format(queue=queue), filters=filters)

    @property
    def _parameters(self) -> dict[str, Any]:
        # Each once: of a queue that is named twice, the same rows would be found twice.
        queues = None if self.request.queues is None else list(dict.fromkeys(self.request.queues))
        return {
            "worker": self.request.worker_id,
            "limit": self.request.limit,
            "queues": queues,
            "queue": queues[0] if queues else None,
            "names": None if self.request.names is None else list(self.request.names),
        }


@dataclass(frozen=True, slots=True)
class _Group:
    """Changes that one statement writes: finished jobs with the same effect."""

    status: JobStatus
    ttl: float | None
    worker_id: str
    attempt: int
    with_results: bool
    ids: list[str]
    results: list[str]

    def statement(self) -> tuple[Any, dict[str, Any]]:
        """The UPDATE and its parameters."""
        parameters: dict[str, Any] = {
            "status": self.status.value,
            "ttl": self.ttl,
            "ids": self.ids,
            "worker": self.worker_id,
            "attempt": self.attempt,
        }
        if not self.with_results:
            return sql.FINISH, parameters
        pairs = zip(self.ids, self.results, strict=True)
        parameters["results"] = "{" + ",".join(f'"{key}":{text}' for key, text in pairs) + "}"
        return sql.FINISH_WITH_RESULTS, parameters


def _grouped(changes: Sequence[Change]) -> tuple[list[_Group], list[Change]]:
    """Finished jobs by effect, and what the ORM writes: all the rest, and jobs that occur twice."""
    if len({change.job_id for change in changes}) < len(changes):
        return [], list(changes)
    groups: dict[tuple[Any, ...], _Group] = {}
    others: list[Change] = []
    for change in changes:
        if change.verb != "succeed" or change.error is not None or change.worker_id is None:
            others.append(change)
            continue
        with_results = change.result_json is not None
        key = (change.ttl, change.worker_id, change.attempt, with_results)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(
                JobStatus.DONE, change.ttl, change.worker_id, change.attempt, with_results, [], []
            )
        group.ids.append(change.job_id)
        if change.result_json is not None:
            group.results.append(change.result_json)
    return list(groups.values()), others


def _claims_of(rows: Sequence[Sequence[Any]], worker_id: str) -> list[Claim]:
    """The claims that the rows of TAKE stand for.

    The arguments of all rows are decoded as one JSON text, at a fifth of what one by one costs.
    """
    texts = [row[2] for row in rows]
    try:
        arguments = json.loads(f"[{','.join(texts)}]")
    except (ValueError, RecursionError):  # written by hand: numbers or depths that Python refuses
        arguments = [decoded(text) for text in texts]
    claims = []
    for row, args in zip(rows, arguments, strict=True):
        pk, name, _, queue, priority, attempt, max_attempts, crashes, due, made, context = row
        if context is not None:
            context = decoded(context)
        if due.tzinfo is None:  # USE_TZ is off
            due, made = aware(due), aware(made)
        claims.append(
            Claim(
                pk,
                worker_id,
                attempt,
                name,
                args,
                queue,
                priority,
                max_attempts,
                crashes,
                due,
                made,
                context,
            )
        )
    return claims


def _in_order(claim: Claim) -> tuple[int, datetime, str]:
    return claim.priority, claim.scheduled_at, claim.job_id


def _is_plain(job: NewJob) -> bool:
    """Whether the job is due at once and has no key; such ones are most."""
    return (
        job.scheduled_at is None
        and not job.delay
        and job.unique_key is None
        and job.dedup_key is None
        and job.args_hash is None
    )


def _insert_one(job: NewJob) -> tuple[Any, ...]:
    """The parameters of INSERT_ONE."""
    return (
        job.id,
        job.job_name,
        job.queue,
        job.priority,
        job.args_json,
        job.max_attempts,
        job.producer_id,
        job.context_json,
    )


def _copied(group: list[NewJob]) -> str:
    """Plain jobs that differ in id and arguments only, in COPY's text format."""
    job = group[0]
    fields = (job.job_name, job.queue, job.priority, "queued", 0, job.max_attempts, 0, job.producer_id)
    tail = "\t".join(str(field).translate(_COPY_ESCAPES) for field in fields)
    tail += "\t" + ("\\N" if job.context_json is None else job.context_json.translate(_COPY_ESCAPES))
    # JSON escapes all control characters, so its text holds no tab and no line break.
    lines = [f"{job.id}\t{job.args_json}\t" for job in group]
    return f"{tail}\n".join(line.replace("\\", "\\\\") for line in lines) + f"{tail}\n"


_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _shared(job: NewJob) -> tuple[Any, ...]:
    """What rows of one INSERT have in common, in the order of its parameters."""
    return (
        job.job_name,
        job.queue,
        job.priority,
        job.max_attempts,
        job.scheduled_at,
        job.delay,
        job.producer_id,
        job.context_json,
    )
