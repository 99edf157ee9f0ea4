"""One connection for a test and for the thread on which its async code uses the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from asgiref.sync import SyncToAsync
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def shared_connections() -> Iterator[None]:
    """Within the block, async code of this thread's event loop uses the connections of this thread.

    The event loop of pytest-asyncio runs on the thread of the test, so Django sends the async ORM to another
    one, whose connections know nothing of the test's transaction. That thread gets these for its own. Both
    must not use them at once, which a test that awaits what it calls does not.
    """
    lent = connections.all(initialized_only=True)
    own: dict[str, BaseDatabaseWrapper] = {}

    def lend() -> None:
        own.update({connection.alias: connection for connection in connections.all(initialized_only=True)})
        for connection in lent:
            connections[connection.alias] = connection

    def give_back() -> None:
        for connection in lent:
            if connection.alias in own:
                connections[connection.alias] = own[connection.alias]
            else:
                del connections[connection.alias]

    for connection in lent:
        connection.inc_thread_sharing()
    _there(lend)
    try:
        yield
    finally:
        _there(give_back)
        for connection in lent:
            connection.dec_thread_sharing()


def _there(call: Callable[[], None]) -> None:
    """On the thread that asgiref keeps for sync code that async code shares."""
    SyncToAsync.single_thread_executor.submit(call).result()
