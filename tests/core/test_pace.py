"""How far ahead a worker claims, and how often it visits the storage."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from soniq import Soniq, slot_pool
from soniq import pace as module
from soniq.pace import SPACING, WINDOW, Pace
from soniq.testing import wait_until


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    """Of a worker that has just finished a hundred jobs in a tenth of a second, and begun a visit."""
    made = Pace(enabled=True, clock=clock)
    made.finished(100)
    made.visits()
    return made


def test_outcomes_pile_up_for_a_while_beside_work_for_longer(pace: Pace, clock: Clock) -> None:
    assert pace.may_pile_up(ready=100) == pytest.approx(SPACING)

    clock.now += SPACING / 2
    assert pace.may_pile_up(ready=100) == pytest.approx(SPACING / 2)

    clock.now += SPACING
    assert pace.may_pile_up(ready=100) == 0


def test_nothing_piles_up_when_slots_could_run_dry(pace: Pace) -> None:
    """Forty ready jobs last for two spacings, at the pace of late."""
    enough = int(100 * SPACING / WINDOW * 2)

    assert pace.may_pile_up(ready=enough) > 0
    assert pace.may_pile_up(ready=enough - 1) == 0


def test_nothing_piles_up_with_little_to_do(clock: Clock) -> None:
    """One outcome is recorded at once: somebody may wait for it."""
    pace = Pace(enabled=True, clock=clock)
    pace.visits()
    assert pace.may_pile_up(ready=0) == 0
    assert pace.may_pile_up(ready=10) == 0

    pace.finished(100)
    clock.now += WINDOW * 2
    pace.visits()
    assert pace.may_pile_up(ready=10) == 0


def test_nothing_piles_up_without_claiming_ahead(clock: Clock) -> None:
    pace = Pace(enabled=False, clock=clock)
    pace.finished(100)
    pace.visits()

    assert pace.may_pile_up(ready=100) == 0


@pytest.fixture
def visits(make, monkeypatch):
    """An app with jobs of about a millisecond, and how much each visit of its worker records."""
    app = make()
    made: list[int] = []
    exchange = app.backend.exchange

    def counted(changes, request):
        made.append(len(changes))
        return exchange(changes, request)

    monkeypatch.setattr(app.backend, "exchange", counted)
    return app, made


async def drained(app: Soniq, job: Any, count: int) -> None:
    """So many of these jobs are enqueued, and one worker does them."""
    await app.enqueue_many(job, [{}] * count)
    worker = app.worker(concurrency=2)
    running = asyncio.create_task(worker.run())
    await wait_until(lambda: len(app.backend.list_jobs(status="done", limit=count)) == count, timeout=10)
    worker.stop()
    await running


async def test_a_busy_worker_visits_the_storage_now_and_then(visits):
    """Of a thousand outcomes nearly each one would have a visit of its own otherwise."""
    app, made = visits

    @app.job(name="brief")
    def brief() -> None:
        time.sleep(0.001)

    await drained(app, brief, 1000)

    assert len(made) < 300


@pytest.mark.parametrize("turn", [0.0, slot_pool.TURN])
@pytest.mark.parametrize("kind", ["sync", "async", "waiting"])
async def test_a_pause_between_visits_ends_with_the_work(visits, monkeypatch, kind, turn):
    """How long the ready jobs last is an estimate: of a worker that has just begun, far too long a time."""
    app, _ = visits
    monkeypatch.setattr(slot_pool, "TURN", turn)  # 0: it is over with each job, also with the last one
    monkeypatch.setattr(module.Pace, "may_pile_up", lambda self, *, ready: 3600.0 if ready else 0.0)

    @app.job(name="sync")
    def brief() -> None:
        pass

    @app.job(name="async")
    async def abrief() -> None:
        pass

    @app.job(name="waiting")
    async def waiting() -> None:
        await asyncio.sleep(0)

    await drained(app, kind, 200)


async def test_a_stop_does_not_wait_for_the_next_visit(visits, monkeypatch):
    """What was claimed ahead is given back, and what ran is recorded."""
    app, _ = visits
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    @app.job(name="brief")
    def brief(n: int) -> None:
        time.sleep(0.001)
        if n == 150:
            monkeypatch.setattr(module, "SPACING", 3600)
            loop.call_soon_threadsafe(started.set)

    for n in range(2000):
        await app.enqueue(brief, n=n)
    worker = app.worker(concurrency=2)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        await started.wait()
        worker.stop()
        await running

    stats = await app.get_queue_stats()
    assert stats["processing"] == 0
    assert stats["queued"] + stats["done"] == 2000
