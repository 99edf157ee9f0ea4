"""A server that ends every session, as one that restarts does: the worker connects again."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from soniq import Soniq
from soniq.testing import wait_until
from soniq_django.backend import DjangoBackend
from soniq_django.connections import DjangoEnvironment
from tests.support.sessions import end_other_sessions
from tests.support.vendors import MYSQL, POSTGRES

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.mark.parametrize("when", ["idle", "running"])
@pytest.mark.parametrize("alias", [*POSTGRES, *MYSQL])
async def test_lost_sessions_end_neither_worker_nor_job(app: Soniq, alias: str, when: str) -> None:
    """Every session of the database is cut; the worker connects again, and nothing runs twice."""
    patient = Soniq(backend=DjangoBackend(alias), environment=DjangoEnvironment(), poll_interval=0.1)
    runs = []
    proceed = asyncio.Event()

    @patient.job(max_retries=0)
    async def work() -> None:
        runs.append(1)
        await proceed.wait()

    one = patient.worker(concurrency=1)
    running = asyncio.create_task(one.run())
    try:
        first = await patient.enqueue(work)
        await wait_until(lambda: runs, timeout=10)
        if when == "running":
            await sync_to_async(end_other_sessions)(alias)
        proceed.set()
        await wait_until(lambda: _is_done(patient, first), timeout=20)
        if when == "idle":
            await sync_to_async(end_other_sessions)(alias)
            second = await patient.enqueue(work)
            await wait_until(lambda: _is_done(patient, second), timeout=20)
        assert len(runs) == (2 if when == "idle" else 1)
    finally:
        one.stop()
        await running
        await sync_to_async(connections.close_all)()


async def _is_done(app: Soniq, job_id: str) -> bool:
    return (await app.get_job(job_id))["status"] == "done"
