"""What the database gave up for the sake of others, done again at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

from soniq.errors import BackendConflict
from soniq_django.store.errors import translated, was_given_up

T = TypeVar("T")

TRIES = 5


def despite_conflicts(connection: BaseDatabaseWrapper, call: Callable[[], T], tries: int = TRIES) -> T:
    """Make a call that is one transaction; again when the database gave that up.

    A transaction of the caller, by ``atomic()`` or by hand, is the caller's to begin anew.

    :raises BackendConflict: it gave it up each time, or it was the caller's, or a lock did not come in time
    """
    with translated(connection.alias):  # it may have to connect
        callers = not connection.get_autocommit()
    if callers:
        return call()
    for _ in range(tries - 1):
        try:
            return call()
        except BackendConflict as error:
            if not was_given_up(error):
                raise
    return call()
