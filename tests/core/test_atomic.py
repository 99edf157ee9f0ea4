"""Atomic jobs where there are no transactions."""

from __future__ import annotations

import pytest

from soniq import InvalidEnqueue, InvalidJob
from soniq.arguments import encode
from soniq.ids import uuid7_text
from soniq.jobs import NewJob


async def test_an_enqueue_is_refused_where_nothing_could_run_it(any_app) -> None:
    """The error says where it can be run."""

    @any_app.job(atomic=True)
    def work() -> None:
        """Never runs."""

    with pytest.raises(InvalidEnqueue, match=r"atomic=True.*run it from a Django database"):
        await any_app.enqueue(work)
    assert (await any_app.get_queue_stats())["total"] == 0


async def test_a_stored_one_is_buried_not_run(any_app) -> None:
    """Run without a transaction, it would break its promise."""
    ran = []

    @any_app.job(atomic=True, name="work")
    def work() -> None:
        ran.append(1)

    await any_app.setup()
    [job_id] = any_app.backend.enqueue(
        [NewJob(uuid7_text(), "work", encode({}, limit=99), "default", 100, 4)]
    )
    await any_app.run_worker(run_once=True)

    letter = await any_app.dead_letter.get_dead_letter_job(job_id)
    assert letter.dead_letter_reason == "permanent_failure"
    assert "atomic=True" in letter.last_error
    assert ran == []


def test_the_option_is_a_flag(app) -> None:
    """As the others are."""
    with pytest.raises(InvalidJob, match="atomic is 'yes'"):
        app.job(atomic="yes")(lambda: None)
