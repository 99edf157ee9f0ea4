"""Signals of jobs: which, when, where, and at what price."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.dispatch import Signal

from soniq import Snooze, Soniq, default_app
from soniq.jobs import ClaimRequest, WorkerInfo
from soniq.testing import wait_until
from soniq.worker import Worker
from soniq_django.backend import DjangoBackend
from soniq_django.connections import DjangoEnvironment
from soniq_django.signals import (
    SignalObserver,
    job_dead_lettered,
    job_enqueued,
    job_failed,
    job_started,
    job_succeeded,
)
from tests.shop import tasks
from tests.shop.models import Note
from tests.support.vendors import FIRST_QUICKLY
from tests.yard.jobs import anoop, fail, noop

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

SIGNALS = {
    "enqueued": job_enqueued,
    "started": job_started,
    "succeeded": job_succeeded,
    "failed": job_failed,
    "dead_lettered": job_dead_lettered,
}


@pytest.fixture(params=FIRST_QUICKLY)
def alias(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def app(alias: str, transactional_db: None) -> Iterator[Soniq]:
    """An app that sends signals, on the database ``alias``."""
    backend = DjangoBackend(alias)
    made = Soniq(backend=backend, environment=DjangoEnvironment(), observer=SignalObserver(), dead_after=30.0)
    with default_app(made) as app:
        yield app
    from asgiref.sync import SyncToAsync

    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def connect() -> Iterator[Callable[..., None]]:
    """Connect a receiver for the time of the test."""
    connected: list[tuple[Signal, Callable[..., object], object]] = []

    def connect(signal: Signal, receiver: Callable[..., object], sender: object = None) -> None:
        signal.connect(receiver, sender=sender, weak=False)
        connected.append((signal, receiver, sender))

    yield connect
    for signal, receiver, sender in connected:
        signal.disconnect(receiver, sender=sender)


@pytest.fixture
def heard(connect: Callable[..., None]) -> list[tuple[str, dict[str, Any]]]:
    """Every signal that was sent: its name and what it said."""
    told: list[tuple[str, dict[str, Any]]] = []
    for name, signal in SIGNALS.items():

        def receive(signal: Signal, *, name: str = name, **facts: Any) -> None:
            told.append((name, facts))

        connect(signal, receive)
    return told


def names(heard: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [name for name, _ in heard]


@pytest.mark.parametrize("job", [noop, anoop], ids=["sync", "async"])
async def test_a_job_that_ends_well_is_enqueued_started_and_succeeded(
    app: Soniq, heard: Any, job: Any
) -> None:
    """Each signal once, in this order, each with the job as its sender."""
    job_id = await app.enqueue(job)
    assert names(heard) == ["enqueued"]

    await app.run_worker(run_once=True)

    assert names(heard) == ["enqueued", "started", "succeeded"]
    for _, facts in heard:
        assert facts["sender"] is job
        assert (facts["job_id"], facts["job_name"], facts["queue"]) == (job_id, job.name, "default")
    assert (heard[1][1]["attempt"], heard[1][1]["max_attempts"]) == (1, 4)
    assert heard[2][1]["duration"] >= 0


async def test_a_receiver_can_be_connected_to_one_task(app: Soniq, connect: Callable[..., None]) -> None:
    """One of Django's Tasks, by what ``@task`` made, whatever ``using()`` made of it for the enqueue."""
    said: list[tuple[str, Any, str]] = []
    for name, signal in SIGNALS.items():

        def receive(signal: Signal, *, sender: object, job_name: str, name: str = name, **_: Any) -> None:
            said.append((name, sender, job_name))

        connect(signal, receive, sender=tasks.total)

    await tasks.total.using(priority=1).aenqueue(1)
    await tasks.atotal.aenqueue(1)
    await app.run_worker(run_once=True)

    expected = ["enqueued", "started", "succeeded"]
    assert said == [(name, tasks.total, "tests.shop.tasks.total") for name in expected]


async def test_each_failed_attempt_is_told_and_the_last_one_also_as_dead_letter(
    app: Soniq, heard: Any
) -> None:
    """``retry_in`` says whether there is another one."""

    @app.job(name="work", max_retries=1, retry_delay=0)
    def work() -> None:
        raise ValueError("wrong: token=hunter2")

    await app.enqueue(work)
    for _ in range(2):
        await app.run_worker(run_once=True)

    ends = heard[1:]
    assert names(ends) == ["started", "failed", "started", "failed", "dead_lettered"]
    assert [facts.get("retry_in") for name, facts in ends if name == "failed"] == [0.0, None]
    assert ends[-1][1]["reason"] == "max_retries_exceeded"
    assert ends[-1][1]["error"] == "ValueError: wrong: token=********"


async def test_a_snooze_is_neither_success_nor_failure(app: Soniq, heard: Any) -> None:
    """It is a pause."""

    @app.job(name="work")
    async def work() -> Snooze:
        return Snooze(60)

    await app.enqueue(work)
    await app.run_worker(run_once=True)

    assert names(heard) == ["enqueued", "started"]


async def test_an_enqueue_is_told_within_the_callers_transaction(
    app: Soniq, alias: str, connect: Any
) -> None:
    """At once, so a receiver writes in it, too, and what rolls back takes that along."""

    def note(signal: Signal, job_id: str, **facts: Any) -> None:
        Note.objects.using(alias).create(text=job_id)

    connect(job_enqueued, note)

    def both() -> list[str]:
        with transaction.atomic(using=alias):
            kept = noop.enqueue()
        with transaction.atomic(using=alias):
            noop.enqueue()
            transaction.set_rollback(True, using=alias)
        return [kept]

    kept = await sync_to_async(both)()

    assert [n.text async for n in Note.objects.using(alias)] == kept


async def test_of_a_batch_each_job_that_was_stored_is_told(app: Soniq, heard: Any) -> None:
    """Also of a generator; a job for which a live one stands was not."""

    @app.job(name="work", unique=True)
    def work(n: int) -> None:
        pass

    first = await app.enqueue(work, n=1)
    ids = await app.enqueue_many(work, ({"n": n} for n in (1, 2, 3, 3)))

    assert [facts["job_id"] for _, facts in heard] == [first, ids[1], ids[2]]


async def test_a_replay_is_an_enqueue(app: Soniq, heard: Any) -> None:
    """By whichever way a job comes into being."""
    dead = await app.enqueue(fail, message="no")
    await app.run_worker(run_once=True)
    heard.clear()

    replayed = await app.dead_letter.replay(dead)

    assert [(name, facts["job_id"]) for name, facts in heard] == [("enqueued", replayed)]


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_receivers_use_the_orm_wherever_they_are_called(
    app: Soniq, alias: str, connect: Any, form: str
) -> None:
    """Those of a start on the job's thread, those of an end on one of their own; none in the loop."""
    loop_thread = threading.get_ident()
    threads: dict[str, tuple[int, str]] = {}
    for name, signal in SIGNALS.items():

        def receive(signal: Signal, *, name: str = name, **facts: Any) -> None:
            Note.objects.using(alias).create(text=name)
            threads[name] = threading.get_ident(), threading.current_thread().name

        if name != "enqueued":
            connect(signal, receive)

    @app.job(name="work")
    def work() -> None:
        threads["job"] = threading.get_ident(), ""

    @app.job(name="awork")
    async def awork() -> None:
        await sync_to_async(work.fn)()

    await app.enqueue(work if form == "sync" else awork)
    await app.run_worker(run_once=True)

    assert sorted([n.text async for n in Note.objects.using(alias)]) == ["started", "succeeded"]
    assert threads["started"][0] == threads["job"][0] != loop_thread
    assert threads["succeeded"][1] == "soniq-signals"
    assert not [t for t in threading.enumerate() if t.name.startswith("soniq")]


@pytest.mark.parametrize("error", [ValueError("receiver"), SystemExit(3)], ids=repr)
async def test_a_receiver_that_raises_changes_nothing_and_is_logged(
    app: Soniq, connect: Any, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """Neither the enqueue nor the job, and other receivers hear all the same."""

    def broken(signal: Signal, **facts: Any) -> None:
        raise error

    ends: list[str] = []
    for name, signal in SIGNALS.items():
        connect(signal, broken, None)
        if isinstance(error, Exception):
            connect(signal, lambda signal, name=name, **facts: ends.append(name))

    job_id = await app.enqueue(noop)
    await app.run_worker(run_once=True)

    assert (await app.get_job(job_id))["status"] == "done"
    assert "receiver" in caplog.text if isinstance(error, Exception) else "the observer" in caplog.text
    if isinstance(error, Exception):
        assert ends == ["enqueued", "started", "succeeded"]


async def test_a_receiver_that_leaves_a_transaction_open_spoils_no_other(
    app: Soniq, alias: str, connect: Any
) -> None:
    """Its thread's connections are cleaned like those of jobs."""

    def spoil(signal: Signal, **facts: Any) -> None:
        transaction.atomic(using=alias).__enter__()
        Note.objects.using(alias).create(text="never")

    def note(signal: Signal, **facts: Any) -> None:
        Note.objects.using(alias).create(text="kept")

    connect(job_succeeded, spoil, noop)
    connect(job_succeeded, note, anoop)
    await app.enqueue(noop)
    await app.enqueue(anoop)
    await app.run_worker(run_once=True)

    assert [n.text async for n in Note.objects.using(alias)] == ["kept"]


async def test_an_outcome_that_was_dropped_is_told_to_nobody(app: Soniq, heard: Any) -> None:
    """The job belongs to another worker by then, whose outcome will be told."""

    @app.job(name="work")
    def work() -> None:
        [held] = Job.objects.using(alias).filter(status="processing")
        Job.objects.using(alias).filter(pk=held.pk).update(attempts=9)

    from soniq_django.models import Job

    alias = app.backend.alias
    await app.enqueue(work)
    await app.run_worker(run_once=True)

    assert names(heard) == ["enqueued", "started"]


async def test_a_job_whose_worker_was_lost_too_often_is_told_as_dead_letter_alone(
    app: Soniq, heard: Any
) -> None:
    """The sweep that rescues it tells, as no attempt of this worker's failed."""

    @app.job(name="work", max_retries=0)
    def work() -> None:
        pass

    job_id = await app.enqueue(work)
    lost = WorkerInfo(id="01a00000-0000-7000-8000-000000000001", hostname="h", pid=1, concurrency=1)
    await app._run(app.backend.register, lost)
    await app._run(app.backend.claim, ClaimRequest(worker_id=lost.id, limit=1))
    await app._run(app.backend.deregister, lost.id)
    heard.clear()

    await app.run_worker(run_once=True)

    [(name, facts)] = heard
    assert (name, facts["job_id"], facts["reason"]) == ("dead_lettered", job_id, "worker_lost")
    assert facts["duration"] is None


class SlowReceiver:
    """Notes each job that it hears of, once it may: at the latest when the block ends, however it ends."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()
        self.told: list[str] = []

    def __call__(self, signal: Signal, job_id: str, **facts: Any) -> None:
        self.entered.set()
        self.go.wait(60)
        self.told.append(job_id)


@asynccontextmanager
async def running(worker: Worker, slow: SlowReceiver) -> AsyncIterator[None]:
    """The worker runs; after the block it has ended, and so has the thread that waits for the receiver."""
    run = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        slow.go.set()
        await run


async def test_a_receiver_that_is_slow_holds_up_neither_loop_nor_jobs(app: Soniq, connect: Any) -> None:
    """It is waited for at the end only."""
    slow = SlowReceiver()
    connect(job_succeeded, slow)
    ids = await app.enqueue_many(anoop, [{}] * 20)
    worker = app.worker(run_once=True)
    async with running(worker, slow):
        await wait_until(lambda: worker.processed == 20 and not worker._ledger.holding, timeout=30)
        assert (await app.get_queue_stats())["done"] == 20
        assert slow.told == []

    assert slow.told == ids


@pytest.mark.slow
async def test_a_worker_claims_no_further_jobs_while_receivers_are_far_behind(
    app: Soniq, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they have yet to hear is bounded; when they have caught up, it goes on."""
    monkeypatch.setattr("soniq.reporter.BACKLOG", 5)
    slow = SlowReceiver()
    connect(job_succeeded, slow)
    await app.enqueue_many(anoop, [{}] * 200)
    worker = app.worker(run_once=True, concurrency=1)
    worker._pace.wanted = lambda **facts: 1  # one at a time, so that the bound is met before the end
    async with running(worker, slow):
        await wait_until(slow.entered.is_set, timeout=30)
        await wait_until(lambda: worker._reporter.behind, timeout=30)
        await wait_until(lambda: not worker._slots.running and not worker._ledger.holding, timeout=30)
        assert (await app.get_queue_stats())["done"] < 20

    assert len(slow.told) == 200


def test_nobody_listens_unless_somebody_does() -> None:
    """The tests of others would pay for it, and so would every job."""
    observer = SignalObserver()
    assert [observer.hears_enqueues, observer.hears_starts, observer.hears_ends] == [False] * 3


async def test_signals_that_nobody_hears_cost_no_thread(app: Soniq) -> None:
    """Nor a connection: the thread that tells starts with the first end that somebody wants to hear of."""
    seen: list[str] = []

    @app.job(name="work")
    async def work() -> None:
        seen.extend(thread.name for thread in threading.enumerate())

    await app.enqueue(work)
    await app.enqueue(work)
    await app.run_worker(run_once=True)

    assert "soniq-signals" not in seen
    assert "soniq-heart" in seen


@pytest.mark.django_db(transaction=False)
def test_receivers_in_a_test_work_within_its_transaction(db: None, run_jobs: Any, connect: Any) -> None:
    """With the fixtures of the plugin: on the test's own connection, and all heard when the drain returns."""

    def note(signal: Signal, **facts: Any) -> None:
        Note.objects.create(text="heard")

    for signal in (job_enqueued, job_started, job_succeeded):
        connect(signal, note)
    noop.enqueue()
    assert connections["default"].in_atomic_block

    assert run_jobs()

    assert Note.objects.filter(text="heard").count() == 3
