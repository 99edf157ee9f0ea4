"""The hot path: in SQL where there is some for the database, in the ORM everywhere else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property

from soniq.jobs import Claim, NewJob
from soniq.transitions import Change
from soniq_django.store.orm import OrmStatements
from soniq_django.store.tables import Tables


class HotPath(Tables):
    """Enqueue, claim, apply and exchange of :class:`soniq.backend.StorageBackend`."""

    def enqueue(self, jobs: Iterable[NewJob]) -> list[str]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self._statements.enqueue(jobs)

    def claim(
        self,
        *,
        worker_id: str,
        limit: int,
        queues: Collection[str] | None = None,
        names: Collection[str] | None = None,
        skip_own: bool = False,
    ) -> list[Claim]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self._statements.claim(
            worker_id=worker_id, limit=limit, queues=queues, names=names, skip_own=skip_own
        )

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self._statements.apply(changes)

    def exchange(
        self,
        changes: Sequence[Change],
        *,
        worker_id: str,
        limit: int,
        queues: Collection[str] | None = None,
        names: Collection[str] | None = None,
        skip_own: bool = False,
    ) -> tuple[list[bool], list[Claim]]:
        """See :class:`soniq.backend.StorageBackend`."""
        return self._statements.exchange(
            changes,
            worker_id=worker_id,
            limit=limit,
            queues=queues,
            names=names,
            skip_own=skip_own,
        )

    @cached_property
    def _statements(self) -> OrmStatements:
        if self.connection.vendor == "postgresql":
            from django.db.backends.postgresql.psycopg_any import (  # noqa: PLC0415  # needs psycopg
                is_psycopg3,
            )

            if is_psycopg3:
                from soniq_django.store.postgres import (  # noqa: PLC0415  # needs psycopg
                    PostgresStatements,
                )

                return PostgresStatements(self._alias)
        return OrmStatements(self._alias)
