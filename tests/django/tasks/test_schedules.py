"""Schedules of tasks: declared above ``@task``, or made at run time."""

from __future__ import annotations

from typing import Any

import pytest

from soniq import Soniq
from soniq.default import shared
from soniq.errors import InvalidJob
from tests.shop import tasks
from tests.support.task_api import default_task_backend


@pytest.fixture(autouse=True)
def own_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test declares ends with it."""
    monkeypatch.setattr(shared, "_declarations", dict(shared._declarations))


def test_a_schedule_is_declared_above_a_task_and_leaves_it_a_task() -> None:
    declared = shared.periodic(cron="0 3 * * *", args={"number": 7}, schedule_name="orders")(tasks.order)

    assert declared is tasks.order
    made = shared.declarations()["orders"]
    assert (made.task.name, made.args) == (tasks.order.module_path, {"number": 7})


def test_options_of_a_job_belong_to_the_task_itself() -> None:
    with pytest.raises(InvalidJob, match="give max_retries where it is made one"):
        shared.periodic(every=5, max_retries=3)(tasks.order)


@pytest.mark.django_db
async def test_a_scheduled_task_runs_as_a_task(soniq_app: Soniq) -> None:
    """Its result is found by the id of the job that was fired."""
    name = await soniq_app.scheduler.add(tasks.order, every=60, args={"number": 7, "express": True})
    fired = await soniq_app.scheduler.run(name)
    await soniq_app.run_worker(run_once=True)

    result = await default_task_backend.aget_result(fired)
    assert (result.status, result.return_value) == ("SUCCESSFUL", [7, True])
    assert (await soniq_app.scheduler.get(name)).queue is None


@pytest.mark.django_db
async def test_a_schedule_keeps_queue_and_priority_of_a_copy_and_refuses_the_rest(soniq_app: Soniq) -> None:
    placed = tasks.order.using(queue_name="emails", priority=10)
    name = await soniq_app.scheduler.add(placed, every=60, args={"number": 7})

    found: Any = await soniq_app.scheduler.get(name)
    assert (found.queue, found.priority) == ("emails", 90)
    for other in (tasks.order.using(max_retries=9), tasks.order.using(backend="slow")):
        with pytest.raises(InvalidJob, match="only queue_name and priority can be kept"):
            await soniq_app.scheduler.add(other, every=60, args={"number": 7})
    assert [one.priority for one in await soniq_app.scheduler.list()] == [90]
