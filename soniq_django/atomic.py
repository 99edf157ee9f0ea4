"""The transaction around the handler of an atomic job."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections, transaction

from soniq.backend import JobTransaction
from soniq.steady import get_logger

logger = get_logger("soniq.worker")


class RolledBackError(Exception):
    """Given to atomic() blocks as the reason to roll back."""


class OrmTransaction(JobTransaction):
    """``transaction.atomic()`` on one database, entered and left by hand.

    Django's block cannot see all that a handler may do inside: it would take a block that the handler left
    open for itself, and end without a word where a rollback was asked for. So :meth:`check` looks first.

    :param alias: the database
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._block = transaction.atomic(using=alias)
        self._open = False
        self._committed = False

    def begin(self) -> None:
        """See :class:`soniq.backend.JobTransaction`."""
        self._connection = connections[self._alias]
        outermost = not self._connection.in_atomic_block
        self._block.__enter__()
        self._open = True
        if outermost:
            # The first callback of all: once it has run, whatever is raised is not the commit's doing.
            transaction.on_commit(self._note_commit, using=self._alias)

    def check(self) -> None:
        """See :class:`soniq.backend.JobTransaction`."""
        connection = self._connection
        if connections[self._alias] is not connection or connection.closed_in_transaction:
            problem = "closed the connection of its transaction"
        elif not connection.atomic_blocks or connection.atomic_blocks[-1] is not self._block:
            problem = "left a transaction.atomic() block open"
        elif connection.needs_rollback:
            problem = "marked its transaction for rollback, or hid a database error in it"
        else:
            return
        raise transaction.TransactionManagementError(
            f"the job is atomic=True and {problem} ({self._alias!r}), so nothing of it can be committed; "
            "what it wrote is rolled back"
        )

    def commit(self) -> None:
        """See :class:`soniq.backend.JobTransaction`.

        What a callback of on_commit() raises is logged: the job is done by then.
        """
        self._open = False
        try:
            self._block.__exit__(None, None, None)
        except BaseException:
            if not self._committed:
                raise
            logger.exception("a callback of on_commit() failed; the atomic job that made it is done")

    def roll_back(self) -> None:
        """See :class:`soniq.backend.JobTransaction`."""
        if not self._open:
            return
        self._open = False
        connection = self._connection
        try:
            if connections[self._alias] is not connection:  # the handler took it from there
                connections[self._alias].close()
                connections[self._alias] = connection
            while self._block in connection.atomic_blocks:
                connection.atomic_blocks[-1].__exit__(RolledBackError, RolledBackError(), None)
        except Exception:
            logger.exception("the rollback on %r failed; the connection is replaced", self._alias)
            _quietly(connection.close)
            del connections[self._alias]

    def _note_commit(self) -> None:
        self._committed = True


def _quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception:  # what cannot even be closed is dropped
        logger.debug("could not close a broken connection", exc_info=True)
