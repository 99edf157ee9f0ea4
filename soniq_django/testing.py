"""For the tests of Django projects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from datetime import datetime
from typing import TypeVar

from asgiref.sync import sync_to_async

from soniq.backend import JobTransaction
from soniq.environment import Environment
from soniq_django.conf import read_settings
from soniq_django.times import meant_by

T = TypeVar("T")


class TestEnvironment(Environment):
    """Jobs use the test's own thread and connection, so they see what its transaction holds."""

    supports_transactions = True  # atomic jobs of an app in memory: all that they write, or nothing
    __test__ = False  # not a test class, whatever pytest makes of the name

    def aware(self, naive: datetime) -> datetime | None:
        """See :class:`soniq.environment.Environment`."""
        return meant_by(naive)

    def job_transaction(self) -> JobTransaction:
        """On the database of the project's jobs, within the test's own transaction if it has one."""
        from soniq_django.atomic import OrmTransaction  # noqa: PLC0415  # needs Django to be set up
        from soniq_django.store.tables import Tables  # noqa: PLC0415  # as above

        return OrmTransaction(Tables(read_settings().database).alias)

    def submit(self, thread: Executor, call: Callable[[], T]) -> Awaitable[T]:
        """See :class:`soniq.environment.Environment`."""
        return sync_to_async(call, thread_sensitive=True)()
