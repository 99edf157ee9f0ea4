"""Enqueue and claim on MariaDB and MySQL: the ORM's statements, along the indexes that InnoDB is to walk.

What InnoDB asks for:

- **A claim names its index.** Left to its statistics, the optimizer reads and sorts all that waits, or comes
  by the index of all queues to serve one.
- **It goes through the priorities one by one**, so that no claim walks over the delayed jobs of one
  priority to reach the next. A level is one probe of the index.
- **Held keys are asked for first.** An INSERT that meets a held key locks its holder until the caller's
  transaction ends, and a worker could not record the outcome of that job so long.
- **A deadlock is tried again at once** where no transaction of the caller was lost by it. InnoDB locks
  entries of indexes, not rows alone: a claim that skips a row keeps the entry by which it came, and a
  worker of some queues and a worker of all come by different indexes. Enqueues lock the gaps between
  unique keys.

Django opens its sessions in READ COMMITTED, unless ``OPTIONS`` name another ``isolation_level``. In
REPEATABLE READ all is as true, but gaps are locked everywhere, and deadlocks are common.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.datastructures import BaseTable

from soniq.jobs import Claim, ClaimRequest, NewJob
from soniq.transitions import Change
from soniq_django.functions import DatabaseNow
from soniq_django.models import Job
from soniq_django.store import rows
from soniq_django.store.errors import translated
from soniq_django.store.orm import OrmStatements, queued

LOWEST = -1  # below all priorities
SCHEDULED_AT = rows.CLAIM_COLUMNS.index("scheduled_at")


class MySQLStatements(OrmStatements):
    """The hot path on InnoDB."""

    tries = 10  # deadlocks come in swarms: each enqueue of a unique job locks the gap beside its key

    # -- enqueue

    def _insert(self, jobs: list[NewJob], *, free_keys_only: bool = False) -> None:
        if not free_keys_only:
            super()._insert(jobs)
            return
        ids = [job.id for job in jobs]
        asked = Q(pk__in=ids)
        if self._reads_committed:
            asked |= Q(unique_key__in=[job.unique_key for job in jobs])
        held = dict(self.jobs.filter(asked).values_list("unique_key", "pk"))
        if any(str(pk) in ids for pk in held.values()):
            super()._insert(jobs)  # an id is taken: the database's own words for it
        self.jobs.bulk_create(
            [rows.new_job(job) for job in jobs if job.unique_key not in held],
            # Not ignore_conflicts: INSERT IGNORE stores whatever it can make of a value that cannot be.
            # A holder that came up since keeps the key that it has, and is else left as it is.
            update_conflicts=True,
            update_fields=["unique_key"],
        )

    def _holders(self, keys: Collection[str]) -> QuerySet[Job]:
        # A locking read sees what is committed, whatever the transaction saw before.
        holders = super()._holders(keys)
        return holders if self._reads_committed else holders.select_for_update()

    @property
    def _reads_committed(self) -> bool:
        self.connection.ensure_connection()
        return getattr(self.connection, "isolation_level", None) == "read committed"

    # -- claim and apply

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self.despite_deadlocks(partial(super().claim, request))

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self.despite_deadlocks(partial(super().apply, changes))

    def exchange(self, changes: Sequence[Change], request: ClaimRequest) -> tuple[list[bool], list[Claim]]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self.despite_deadlocks(partial(super().exchange, changes, request))

    def _front(
        self, wanted: QuerySet[Job], queues: Collection[str] | None, limit: int
    ) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        for priority, where in self._levels(queues):
            level: list[tuple[Any, ...]] = []
            for jobs in _ranges(wanted.filter(priority=priority), where):
                level += super()._front(jobs, None, limit - len(found))
            level.sort(key=_by_time)
            found += level[: limit - len(found)]
            if len(found) >= limit:
                break
        return found

    def next_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> float | None:
        """See :class:`soniq.backend.StorageBackend`; level by level, as a claim goes."""
        waits: list[float] = []
        with translated(self.alias):
            for priority, where in self._levels(queues):
                for jobs in _ranges(queued(self.jobs, None, names).filter(priority=priority), where):
                    wait = self._first_wait(jobs)
                    waits += [] if wait is None else [wait]
        return min(waits, default=None)

    def _first_wait(self, jobs: QuerySet[Job]) -> float | None:
        first = jobs.order_by("scheduled_at").values_list("scheduled_at", DatabaseNow())[:1]
        return next(((due - now).total_seconds() for due, now in first), None)

    def _levels(self, queues: Collection[str] | None) -> Iterator[tuple[int, Collection[str] | None]]:
        """The priorities that queued jobs have, in order, and the queues in which they do (None: all)."""
        last = LOWEST
        while True:
            above = queued(self.jobs, None, None).filter(priority__gt=last)
            probes = [
                jobs.order_by("priority").values_list("priority", "queue")[:1]
                for jobs in _ranges(above, queues)
            ]
            found = list(probes[0].union(*probes[1:], all=True) if len(probes) > 1 else chain(*probes))
            if not found:
                return
            last = min(priority for priority, _ in found)
            yield last, None if queues is None else {queue for priority, queue in found if priority == last}


def _ranges(jobs: QuerySet[Job], queues: Collection[str] | None) -> list[QuerySet[Job]]:
    """Queued jobs as ranges of an index in order of the claim: one of all queues, or one per queue."""
    if queues is None:
        return [_along(jobs, "soniq_jobs_claim")]
    return [_along(jobs.filter(queue=queue), "soniq_jobs_claim_queue") for queue in set(queues)]


def _along(jobs: QuerySet[Job], index: str) -> QuerySet[Job]:
    """The same rows, read along an index."""
    jobs = jobs.all()
    query = jobs.query
    alias = query.get_initial_alias()
    assert alias is not None  # noqa: S101  # the stubs know of queries without a table
    query.alias_map[alias] = _Along(query.alias_map[alias].table_name, alias, index)
    return jobs


class _Along(BaseTable):
    """A table in FROM, and the index to read it by."""

    def __init__(self, table_name: str, alias: str | None, index: str = "") -> None:
        super().__init__(table_name, alias)
        self.index = index

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        """See :class:`django.db.models.sql.datastructures.BaseTable`."""
        table, parameters = super().as_sql(compiler, connection)
        return f"{table} FORCE INDEX ({connection.ops.quote_name(self.index)})", parameters

    def relabeled_clone(self, change_map: dict[str | None, str]) -> _Along:
        """See :class:`django.db.models.sql.datastructures.BaseTable`."""
        return _Along(self.table_name, change_map.get(self.table_alias, self.table_alias), self.index)


def _by_time(row: tuple[Any, ...]) -> tuple[Any, Any]:
    """The order of a claim within one priority."""
    return row[SCHEDULED_AT], row[0]
