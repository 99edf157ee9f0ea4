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

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import groupby
from typing import Any, cast

import psycopg
from django.db import DatabaseError, IntegrityError

from soniq.errors import BackendConflict
from soniq.jobs import Claim, ClaimRequest, NewJob
from soniq.steady import get_logger
from soniq.transitions import Change
from soniq_django.store import sql
from soniq_django.store.claiming import ABOVE_EVERY, FRONT_EVERY, Asked, Mark, claims_of, in_order
from soniq_django.store.errors import translated
from soniq_django.store.inserting import copied, in_common, insert_one_values, is_plain
from soniq_django.store.orm import OrmStatements
from soniq_django.store.recording import grouped
from soniq_django.store.session import OwnSessions

logger = get_logger("soniq.enqueue")

WORTH_COPYING = 20  # jobs
MARKS = 100  # workers that one process may have had, before it forgets their marks


class PostgresStatements(OrmStatements):
    """The hot path in SQL; what is rare is left to the ORM."""

    def __init__(self, alias: str | None = None) -> None:
        super().__init__(alias)
        self._marks: dict[str, Mark] = {}
        self.sessions = OwnSessions()

    # -- enqueue

    def enqueue_and_hint(self, job: NewJob, channel: str) -> str:
        """Store one job in a transaction of its own, then tell the workers; in one round trip.

        Outside of any transaction, and only if :attr:`can_hint`.
        """
        values = (*insert_one_values(job), channel, job.queue)
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
            is_plain(job)
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
        if not is_plain(job):
            self._insert([job])
            return job.id
        with translated(self.alias), self.connection.cursor() as cursor:
            cursor.execute(sql.INSERT_ONE, insert_one_values(job))
        return job.id

    def _insert(self, jobs: list[NewJob], *, free_keys_only: bool = False) -> None:
        statement = sql.INSERT_FREE if free_keys_only else sql.INSERT_MANY
        with translated(self.alias), self.connection.cursor() as cursor:
            for shared, alike in groupby(jobs, key=in_common):
                group = list(alike)
                if len(group) >= WORTH_COPYING and not free_keys_only and all(map(is_plain, group)):
                    with cursor.copy(sql.COPY) as copy:
                        copy.write(copied(group))
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
        return self._claim_alone(Asked(request))

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """See :class:`soniq.backend.StorageBackend`."""
        with self.transaction():
            return self._record(changes, None)[0]

    def exchange(self, changes: Sequence[Change], request: ClaimRequest) -> tuple[list[bool], list[Claim]]:
        """See :class:`soniq.backend.StorageBackend`."""
        asked = Asked(request)
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
        asked = Asked(ClaimRequest(worker_id="", limit=1, queues=queues, names=names))
        if asked.nothing:
            return None
        with translated(self.alias):
            cursor = psycopg.Cursor(self.sessions.of(self.connection))
            found = cursor.execute(*asked.next_due()).fetchone()
        return None if found is None else cast("float | None", found[0])

    def _record(self, changes: Sequence[Change], asked: Asked | None) -> tuple[list[bool], list[Claim]]:
        """Claim and write the changes, as one pipeline. Runs in a transaction.

        The claim goes first: the database is at it while Python puts together what there is to write.
        Of a pipeline that fails, psycopg raises the error of the first statement that failed.
        """
        groups, others = grouped(changes)
        rare = dict(zip(map(id, others), super().apply(others), strict=True)) if others else {}
        session = self.sessions.of(self.connection)
        claims: list[Claim] = []
        cursors = []
        with session.pipeline() if psycopg.Pipeline.is_supported() else nullcontext():
            if asked is not None and not self.sessions.are_set_up(session):
                self.sessions.set_up(session, local=True)
            claiming = iter(()) if asked is None else self._claim(session, asked, claims)
            next(claiming, None)
            for group in groups:
                cursor = psycopg.Cursor(session)
                cursor.execute(*group.statement())
                cursors.append(cursor)
            exhaust(claiming)
        if not others and all(
            cursor.rowcount == len(group.ids) for cursor, group in zip(cursors, groups, strict=True)
        ):
            return [True] * len(changes), claims
        written = {row[0] for cursor in cursors for row in cursor.fetchall()}
        return [rare.get(id(change), change.job_id in written) for change in changes], claims

    def _claim_alone(self, asked: Asked) -> list[Claim]:
        """A claim with nothing to record: in a transaction only where one is needed."""
        within = self.connection.in_atomic_block
        claims: list[Claim] = []
        with translated(self.alias):
            session = self.sessions.of(self.connection)
            alone = not within and self.sessions.reads_committed(session)
        if not (within or alone):
            with self.transaction():
                exhaust(self._claim(session, asked, claims))
                return claims
        try:
            with translated(self.alias):
                exhaust(self._claim(session, asked, claims))
        except BackendConflict:
            if not (alone and claims):
                raise
            # Statements before the one that was given up were transactions of their own.
        return claims

    def _claim(self, session: psycopg.Connection[Any], asked: Asked, claims: list[Claim]) -> Iterator[None]:
        """Behind the mark while that is allowed and enough, else from the front.

        Stops while each statement is under way; resumed, it waits for what that brings.

        :param claims: an empty list, to which each statement adds what it has claimed
        """
        if asked.request.limit < 1 or asked.nothing:
            return
        now = time.monotonic()
        mark = self._marks.get(asked.request.worker_id) if asked.follows_mark else None
        if mark is not None and now - mark.front_at < mark.front_every:
            if now - mark.above_at >= ABOVE_EVERY:
                yield from self._take(session, asked.above(mark), asked, claims)
                mark = replace(mark, above_at=now)
            if len(claims) < asked.request.limit:
                yield from self._take(
                    session, asked.after(mark, asked.request.limit - len(claims)), asked, claims
                )
            if len(claims) == asked.request.limit:
                self._remember(asked, mark.moved_to(claims[-1]))
                return
        before = len(claims)
        yield from self._take(session, asked.front(mark, asked.request.limit - before), asked, claims)
        if claims:
            last, patience = claims[-1], FRONT_EVERY if mark is None else mark.patience_after(claims[before:])
            self._remember(asked, Mark(last.priority, last.scheduled_at, last.job_id, now, now, patience))

    def _remember(self, asked: Asked, mark: Mark) -> None:
        if asked.follows_mark:
            if len(self._marks) > MARKS:
                self._marks.clear()
            self._marks[asked.request.worker_id] = mark

    def _take(
        self,
        session: psycopg.Connection[Any],
        statement: tuple[Any, dict[str, Any]],
        asked: Asked,
        claims: list[Claim],
    ) -> Iterator[None]:
        cursor = psycopg.Cursor(session)
        cursor.execute(*statement, binary=True)
        yield
        claims += sorted(claims_of(cursor.fetchall(), asked.request.worker_id), key=in_order)


def exhaust(steps: Iterator[None]) -> None:
    """Go through all steps."""
    for _ in steps:
        pass
