"""For the tests of Django projects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from datetime import datetime
from typing import TypeVar

from asgiref.sync import sync_to_async

from soniq.environment import Environment
from soniq_django.times import meant_by

T = TypeVar("T")


class TestEnvironment(Environment):
    """Jobs use the test's own thread and connection, so they see what its transaction holds."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    def aware(self, naive: datetime) -> datetime | None:
        """See :class:`soniq.environment.Environment`."""
        return meant_by(naive)

    def submit(self, thread: Executor, call: Callable[[], T]) -> Awaitable[T]:
        """See :class:`soniq.environment.Environment`."""
        return sync_to_async(call, thread_sensitive=True)()
