"""The hot path: in SQL where there is some for the database, in the ORM everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

from django.core.exceptions import SynchronousOnlyOperation
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq.backend import Silence, Subscription
from soniq.jobs import Claim, ClaimRequest, NewJob
from soniq.transitions import Change
from soniq_django.clock import instead_of_now
from soniq_django.hints import CHANNEL, hint_after_commit
from soniq_django.mid_use import refuse_in_mid_use
from soniq_django.store.conflicts import despite_conflicts
from soniq_django.store.mysql import MySQLStatements
from soniq_django.store.orm import OrmStatements
from soniq_django.store.tables import Tables
from soniq_django.transactions import enqueue_after, open_elsewhere

if TYPE_CHECKING:
    from soniq_django.store.postgres import PostgresStatements


class HotPath(Tables):
    """Enqueue, claim, apply, exchange and wake-ups of :class:`soniq.backend.StorageBackend`.

    :param notify: wake workers where the database can
    """

    def __init__(self, alias: str | None = None, *, notify: bool = True) -> None:
        super().__init__(alias)
        self._notify = notify

    def enqueue(self, jobs: Iterable[NewJob]) -> list[str]:
        """See :class:`soniq.backend.StorageBackend`, and :mod:`soniq_django.transactions`.

        :raises InvalidEnqueue: a handler of a signal calls that interrupted a use of the same connection
        """
        refuse_in_mid_use(self.connection)
        try:
            others = open_elsewhere(self.alias)
            return enqueue_after(others, jobs, self._enqueue) if others else self._enqueue(jobs)
        except SynchronousOnlyOperation as error:
            raise SynchronousOnlyOperation(
                "enqueue() and enqueue_many() cannot be called from async code; "
                "await aenqueue() or aenqueue_many() there"
            ) from error

    def _enqueue(self, jobs: Iterable[NewJob]) -> list[str]:
        if not isinstance(jobs, list):
            return self._enqueue_once(jobs)  # a generator can be read once
        return despite_conflicts(self.connection, partial(self._enqueue_once, jobs), self._statements.tries)

    def _enqueue_once(self, jobs: Iterable[NewJob]) -> list[str]:
        if not self.notifies or instead_of_now() is not None:
            return self._statements.enqueue(jobs)
        statements = cast("PostgresStatements", self._statements)
        if isinstance(jobs, list) and len(jobs) == 1 and statements.can_hint(jobs[0]):
            return [statements.enqueue_and_hint(jobs[0], CHANNEL)]
        queues: set[str] = set()
        ids = statements.enqueue(_noting_queues(jobs, queues))
        self.hint(queues)
        return ids

    def hint(self, queues: Iterable[str]) -> None:
        """Tell idle workers to look into these queues, after the commit; where the database can."""
        if not self.notifies:
            return
        for queue in queues:
            hint_after_commit(self.alias, queue)

    def own_session(self) -> None:
        """See :class:`soniq_django.store.tables.Tables`."""
        self._statements.own_session()

    def next_due(
        self, *, queues: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> float | None:
        """See :class:`soniq.backend.StorageBackend`."""
        return self._statements.next_due(queues=queues, names=names)

    def subscribe(
        self, wake: Callable[[str | None], None], lost: Callable[[str], None] | None = None
    ) -> Subscription:
        """See :class:`soniq.backend.StorageBackend`."""
        if not self.notifies:
            return Silence()
        from soniq_django.listener import Listener  # noqa: PLC0415  # needs psycopg

        listener = Listener(self.alias, wake, lost)
        cast("PostgresStatements", self._statements).sessions.proven_by(lambda: listener.healthy)
        return listener

    @cached_property
    def notifies(self) -> bool:
        """Whether enqueues wake workers: PostgreSQL can, through psycopg 3."""
        return self._notify and _has_psycopg3(self.connection)

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self._statements.claim(request)

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self._statements.apply(changes)

    def exchange(self, changes: Sequence[Change], request: ClaimRequest) -> tuple[list[bool], list[Claim]]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self._statements.exchange(changes, request)

    @property
    def _statements(self) -> OrmStatements:
        # The SQL for PostgreSQL has the database's clock built in; the ORM's statements take any.
        return self._tuned if instead_of_now() is None else self._plain

    @cached_property
    def _plain(self) -> OrmStatements:
        return (
            MySQLStatements(self._alias) if self.connection.vendor == "mysql" else OrmStatements(self._alias)
        )

    @cached_property
    def _tuned(self) -> OrmStatements:
        if self.connection.vendor == "mysql":
            return MySQLStatements(self._alias)
        if not _has_psycopg3(self.connection):
            return OrmStatements(self._alias)
        from soniq_django.store.postgres import PostgresStatements  # noqa: PLC0415  # needs psycopg

        return PostgresStatements(self._alias)


def _has_psycopg3(connection: BaseDatabaseWrapper) -> bool:
    if connection.vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3  # noqa: PLC0415  # needs psycopg

    return bool(is_psycopg3)


def _noting_queues(jobs: Iterable[NewJob], queues: set[str]) -> Iterable[NewJob]:
    """The jobs as they are, with their queues added to ``queues`` on the way."""
    if isinstance(jobs, list):
        queues.update(job.queue for job in jobs)
        return jobs
    return _noted(jobs, queues)


def _noted(jobs: Iterable[NewJob], queues: set[str]) -> Iterator[NewJob]:
    for job in jobs:
        queues.add(job.queue)
        yield job
