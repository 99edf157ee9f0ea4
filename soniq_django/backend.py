"""The storage contract on a Django database."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from soniq.backend import JobTransaction
from soniq.dead_letter import DeadLetterService
from soniq.errors import ConfigurationError
from soniq.scheduler import SchedulerService
from soniq_django.atomic import OrmTransaction
from soniq_django.conf import current_app, read_settings
from soniq_django.store.dead_letters import DeadLetterTable
from soniq_django.store.reading import JobTable
from soniq_django.store.schedules import ScheduleTable
from soniq_django.store.schema import check_migrated
from soniq_django.store.workers import WorkerTable

P = ParamSpec("P")
T = TypeVar("T")


class DjangoBackend(JobTable, WorkerTable, DeadLetterTable, ScheduleTable):
    """Jobs as rows of a Django database.

    Calls run on the calling thread's connection, so an enqueue belongs to the transaction that its
    caller has open there.

    :param alias: the database; None = where the router writes jobs
    """

    supports_processes = True
    supports_persistence = True
    supports_transactions = True
    blocking = True

    def describe(self) -> str:
        """The alias and the kind of database."""
        return f"{self.alias} ({self.connection.display_name})"

    def setup(self) -> None:
        """Nothing to do: ``manage.py migrate`` makes the tables."""

    def check_can_work(self) -> None:
        """Workers have connections of their own, which do not see an open transaction's jobs."""
        if self.connection.in_atomic_block:
            raise ConfigurationError(
                f"a worker cannot run inside a transaction of {self.alias!r} (a TestCase, the db fixture): "
                "it would not see its jobs; in tests call soniq_django.testing.drain_jobs(), or use an app "
                "in memory (the fixtures soniq_app and run_jobs), or a TransactionTestCase"
            )

    def check_ready(self) -> None:
        """Refuse a database that lacks a migration of this app."""
        check_migrated(self.alias)

    def close(self) -> None:
        """Nothing to do: connections belong to Django and to the threads that opened them."""

    def release(self) -> None:
        """Close the connections of the calling thread."""
        connections.close_all()

    def reset(self) -> None:
        """Remove all jobs, dead letters, workers and schedules."""
        with self.transaction():
            for table in (self.jobs, self.dead_letters, self.workers, self.schedules):
                table.delete()

    def job_transaction(self) -> JobTransaction:
        """On the database of the jobs."""
        return OrmTransaction(self.alias)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """On the thread that async code shares for the ORM, so within its transaction."""
        return await sync_to_async(call, thread_sensitive=True)(*args, **kwargs)


def backend_on(alias: str) -> DjangoBackend:
    """The store of the rows on this database, whichever app is the default one."""
    return DjangoBackend(alias, notify=read_settings().notify)


def dead_letters_on(alias: str) -> DeadLetterService:
    """The service for dead letters on this database."""
    return current_app().dead_letter.on(backend_on(alias))


def scheduler_on(alias: str) -> SchedulerService:
    """The service for schedules on this database."""
    return current_app().scheduler.on(backend_on(alias))
