"""What all tables share: the database alias, transactions, row locks."""

from __future__ import annotations

from typing import Any

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from soniq_django.models import DeadLetterJob, Job, Schedule, Worker
from soniq_django.store.errors import translated


class Tables:
    """The tables on one database.

    :param alias: the database; None = where the router writes jobs
    """

    def __init__(self, alias: str | None = None) -> None:
        self._alias = alias

    @property
    def alias(self) -> str:
        """The database that holds the tables."""
        return self._alias or router.db_for_write(Job)

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The calling thread's connection."""
        return connections[self.alias]

    @property
    def jobs(self) -> QuerySet[Job]:
        """All jobs."""
        return Job.objects.using(self.alias)

    @property
    def dead_letters(self) -> QuerySet[DeadLetterJob]:
        """All dead letters."""
        return DeadLetterJob.objects.using(self.alias)

    @property
    def workers(self) -> QuerySet[Worker]:
        """All workers."""
        return Worker.objects.using(self.alias)

    @property
    def schedules(self) -> QuerySet[Schedule]:
        """All schedules."""
        return Schedule.objects.using(self.alias)

    def own_session(self) -> None:
        """Make the calling thread's session one of a worker, where that is more than any session."""

    def transaction(self) -> Any:
        """One transaction, its errors translated; an open one is joined."""
        return translated(self.alias, transaction.atomic(using=self.alias))

    def lock_database(self) -> None:
        """Take the write lock first where rows cannot be locked (SQLite).

        A transaction there that reads before it writes fails at once when another one wrote meanwhile,
        whatever the busy timeout says. A statement that matches no row takes the lock all the same.
        """
        if not self.connection.features.has_select_for_update:
            self.workers.filter(pid=-1).update(pid=-1)

    def may_be_any(self, found: QuerySet[Any]) -> bool:
        """Whether it is worth taking the write lock (SQLite) for these rows.

        Always so within a transaction, where a read before the lock would be the trap that
        :meth:`lock_database` avoids, and where rows are locked one by one.
        """
        if self.connection.features.has_select_for_update or self.connection.in_atomic_block:
            return True
        with translated(self.alias):
            return found.exists()

    def locked(self, found: QuerySet[Any], *, skip: bool = False) -> QuerySet[Any]:
        """The rows, locked where the database can; ``skip`` leaves those that others hold."""
        features = self.connection.features
        if not features.has_select_for_update:
            return found
        return found.select_for_update(skip_locked=skip and features.has_select_for_update_skip_locked)

    def delete_some(self, rows: QuerySet[Any], limit: int, **condition: Any) -> int:
        """Delete at most ``limit`` rows, leaving those that another worker is deleting."""
        found = rows.filter(**condition)
        with translated(self.alias):
            if not found.exists():
                return 0
        with self.transaction():
            self.lock_database()
            ids = list(self.locked(found, skip=True).values_list("pk", flat=True)[:limit])
            return rows.filter(pk__in=ids).delete()[0]
