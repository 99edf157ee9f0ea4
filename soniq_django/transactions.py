"""An enqueue within a transaction of another database than that of the jobs.

In a transaction of the jobs' own database, an enqueue is a part of it. Where one is open on other databases
only, the job must not be seen before what it is about is there. So it is checked at once, gets its id at
once, and is written when the last of these transactions has committed; if one of them rolls back, or the
savepoint that the enqueue was made in, it never was.

Two databases have no commit in common. If the process ends between the commits, or the jobs' database is away
at this moment, the data is there and the job is not. Only the caller's own database can promise both or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq.jobs import NewJob
from soniq.steady import get_logger

logger = get_logger("soniq.enqueue")

TOLD = 10  # jobs that a message names


def two_commits(jobs: str, others: Sequence[str]) -> str:
    """What an enqueue within a transaction of other databases than ``jobs`` is worth; for system checks."""
    named = ", ".join(map(repr, others))
    return (
        f"a job enqueued within a transaction of {named} is written to {jobs!r} once that has committed; "
        "a rollback leaves no job, and neither does a process that ends between the two commits"
    )


def open_elsewhere(alias: str) -> list[str]:
    """The databases that the calling thread has an ``atomic()`` block open on, if it has none on ``alias``.

    The block that a ``TestCase`` puts around each test counts on ``alias``, where all that a test enqueues is
    to be seen at once, and not elsewhere, where it never commits.
    """
    if len(connections.settings) == 1 or connections[alias].in_atomic_block:
        return []
    opened = connections.all(initialized_only=True)
    return [one.alias for one in opened if one.in_atomic_block and not _is_all_of_a_test(one)]


def enqueue_after(
    aliases: list[str], jobs: Iterable[NewJob], enqueue: Callable[[list[NewJob]], list[str]]
) -> list[str]:
    """Enqueue ``jobs`` once the transactions on all ``aliases`` have committed; their ids, now.

    Whether a unique key is held is found out when the job is written. Until then nobody knows, so the id is
    always that of the new job; a holder, if there is one by then, is named in the log.

    :raises Exception: what reading ``jobs`` raises; nothing will be written
    """
    complete = list(jobs)
    open_ones = set(aliases)

    def committed(alias: str) -> None:
        open_ones.discard(alias)
        if not open_ones:
            _write(complete, enqueue)

    for alias in aliases:
        transaction.on_commit(partial(committed, alias), using=alias)
    return [job.id for job in complete]


def _write(jobs: list[NewJob], enqueue: Callable[[list[NewJob]], list[str]]) -> None:
    """Enqueue; on an error say which jobs are lost, as their caller has committed what they are about."""
    try:
        ids = enqueue(jobs)
    except Exception:
        named = ", ".join(f"{job.job_name} {job.id}" for job in jobs[:TOLD])
        logger.error(  # noqa: TRY400  # the error goes on to the caller
            "%d jobs could not be written after the commit that they waited for: %s%s",
            len(jobs),
            named,
            ", ..." if len(jobs) > TOLD else "",
        )
        raise
    for job, job_id in zip(jobs, ids, strict=True):
        if job.id != job_id:
            logger.info(
                "%s %s was not stored after the commit: the live job %s holds its unique key",
                job.job_name,
                job.id,
                job_id,
            )


def _is_all_of_a_test(connection: BaseDatabaseWrapper) -> bool:
    """Whether no block is open but the one that Django's ``TestCase`` opened."""
    return all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
