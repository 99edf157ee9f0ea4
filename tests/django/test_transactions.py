"""An enqueue belongs to its caller's transaction."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, transaction

from soniq import Soniq
from tests.yard.jobs import noop, write_note

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


class Undo(Exception):
    """Rolls a block back."""


def test_a_job_of_a_rolled_back_block_never_existed(app: Soniq, alias: str) -> None:
    """Neither the row nor its effect is there."""
    with pytest.raises(Undo), transaction.atomic(using=alias):
        job_id = write_note.enqueue(text="never", alias=alias)
        assert app.backend.get_job(job_id) is not None
        raise Undo

    assert app.backend.get_job(job_id) is None
    assert async_to_sync(app.run_worker)(run_once=True) is False


def test_a_job_of_a_committed_block_is_there(app: Soniq, alias: str) -> None:
    """It becomes visible with everything else that the block wrote."""
    with transaction.atomic(using=alias):
        job_id = noop.enqueue()

    assert app.backend.get_job(job_id) is not None


def test_a_savepoint_takes_its_jobs_along(app: Soniq, alias: str) -> None:
    """Rolling back an inner block removes its job and leaves the outer one's."""
    with transaction.atomic(using=alias):
        kept = noop.enqueue()
        with pytest.raises(Undo), transaction.atomic(using=alias):
            lost = noop.enqueue()
            raise Undo

    assert app.backend.get_job(kept) is not None
    assert app.backend.get_job(lost) is None


def test_bulk_and_unique_enqueues_roll_back_too(app: Soniq, alias: str) -> None:
    """Whatever path an enqueue takes, it is the caller's transaction."""
    with pytest.raises(Undo), transaction.atomic(using=alias):
        noop.enqueue_many([{}] * 5)
        noop.using(unique=True).enqueue()
        raise Undo

    assert app.backend.queue_stats()["total"] == 0


def test_another_session_sees_the_job_only_after_the_commit(app: Soniq, alias: str) -> None:
    """A worker cannot claim a job whose data is not there yet."""
    with transaction.atomic(using=alias):
        noop.enqueue()
        assert async_to_sync(_count_elsewhere)(app) == 0

    assert async_to_sync(_count_elsewhere)(app) == 1


async def _count_elsewhere(app: Soniq) -> int:
    """Count on a thread, and so a connection, of its own."""

    def count() -> int:
        try:
            return app.backend.queue_stats()["total"]
        finally:
            connections.close_all()

    return await sync_to_async(count, thread_sensitive=False)()


async def test_async_code_in_a_rolled_back_block_leaves_no_job(app: Soniq, alias: str) -> None:
    """aenqueue() below a sync block joins that block's transaction."""

    def block() -> str:
        with transaction.atomic(using=alias):
            async_to_sync(noop.aenqueue)()
            async_to_sync(app.enqueue)(noop)
            assert app.backend.queue_stats()["total"] == 2
            raise Undo

    with pytest.raises(Undo):
        await sync_to_async(block)()

    assert (await app.get_queue_stats())["total"] == 0


def test_async_callers_from_sync_code_roll_back_too(app: Soniq, alias: str) -> None:
    """async_to_sync() inside atomic() stays on the caller's connection."""
    with pytest.raises(Undo), transaction.atomic(using=alias):
        async_to_sync(noop.aenqueue)()
        raise Undo

    assert app.backend.queue_stats()["total"] == 0


async def test_an_async_enqueue_outside_a_block_is_committed(app: Soniq) -> None:
    """Without a transaction each enqueue is one."""
    job_id = await noop.aenqueue()

    assert (await app.get_job(job_id))["status"] == "queued"


def test_a_refused_enqueue_leaves_the_callers_transaction_usable(app: Soniq, alias: str) -> None:
    """Arguments are refused before a statement is sent."""
    with transaction.atomic(using=alias):
        with pytest.raises(Exception, match="NUL"):
            write_note.enqueue(text="a\x00b")
        kept = noop.enqueue()

    assert app.backend.get_job(kept) is not None
