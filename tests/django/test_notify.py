"""Wake-ups: sent after the commit, heard by the worker, found by the poll if lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import DataError, IntegrityError, connections, transaction
from django.test.utils import CaptureQueriesContext
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from soniq import Soniq, default_app
from soniq.ids import uuid7
from soniq.jobs import NewJob
from soniq.testing import wait_until
from soniq_django import hints as sending
from soniq_django.backend import DjangoBackend
from soniq_django.connections import DjangoEnvironment
from soniq_django.hints import AGAIN, CHANNEL
from soniq_django.listener import Listener, _listening_parameters
from soniq_django.metrics.opentelemetry import OpenTelemetrySink
from soniq_django.metrics.prometheus import PrometheusSink
from soniq_django.models import Job
from tests.support.vendors import POSTGRES
from tests.yard.jobs import noop

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.parametrize("alias", POSTGRES),
]


class Undo(Exception):
    """Rolls a block back."""


@pytest.fixture(autouse=True)
def long_after_earlier_hints() -> None:
    """Those of the test before would be enough for the first job."""
    sending._senders.clear()


def wait_until_sync(condition: Callable[[], bool]) -> None:
    """Other threads bring it about."""
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.001)


@contextmanager
def hints(alias: str) -> Iterator[list[str]]:
    """The queues that were hinted at within the block, once it has ended."""
    heard: list[str] = []
    with psycopg.connect(**_listening_parameters(alias), autocommit=True) as session:
        session.execute(f"LISTEN {CHANNEL}; LISTEN {AGAIN}")
        yield heard
        session.execute("SELECT pg_notify(%s, 'end')", [CHANNEL])
        for notification in session.notifies(timeout=5.0):
            if notification.payload == "end":
                return
            heard.append(notification.payload)


def test_an_enqueue_hints_at_its_queue(app: Soniq, alias: str) -> None:
    """Without a transaction the hint follows the row."""
    with hints(alias) as heard:
        noop.using(queue="emails").enqueue()

    assert heard == ["emails"]


def test_a_job_is_stored_though_its_hint_failed(
    app: Soniq, alias: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller hears of no error, as there is none: the poll finds the job."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE plpgsql "
            "AS $$ BEGIN RAISE EXCEPTION 'the queue of notifications is full'; END $$"
        )
        cursor.execute("SET search_path = public, pg_catalog")
        try:
            job_id = noop.enqueue()
            assert "a wake-up was not sent" in caplog.text
            assert connections[alias].get_autocommit()
            cursor.execute("SELECT status FROM soniq_jobs WHERE id = %s", [job_id])
            assert cursor.fetchone() == ("queued",)
        finally:
            cursor.execute("DROP FUNCTION public.pg_notify(text, text)")
            cursor.execute("RESET search_path")


def test_a_refused_enqueue_leaves_no_transaction_open(app: Soniq, alias: str) -> None:
    """The one message that holds it all stops in the middle; the next enqueue works."""
    job = NewJob(str(uuid7()), "work", "{}", "default", 100, 1)
    app.backend.enqueue([job])
    for refused in (job, job._replace(id=str(uuid7()), job_name="x" * 300)):
        with pytest.raises((IntegrityError, DataError)):
            app.backend.enqueue([refused])
        session = connections[alias].connection
        assert session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

    assert noop.enqueue()
    assert Job.objects.using(alias).count() == 2


def test_one_round_trip_stores_a_job_and_hints(app: Soniq, alias: str) -> None:
    """One message, so that an enqueue costs no more than the row."""
    with CaptureQueriesContext(connections[alias]) as captured:
        noop.enqueue()

    assert len(captured) == 1


def test_one_hint_per_transaction_and_queue(app: Soniq, alias: str) -> None:
    """However many jobs a block enqueues, and however."""
    with hints(alias) as heard, transaction.atomic(using=alias):
        for _ in range(5):
            noop.enqueue()
        noop.using(queue="emails").enqueue_many([{}] * 5)
        noop.enqueue_many({} for _ in range(5))

    assert heard == ["default", "emails"]


def test_no_hint_before_the_commit(app: Soniq, alias: str) -> None:
    """The enqueuing transaction itself never notifies: that would serialise the server's commits."""
    with hints(alias) as heard, transaction.atomic(using=alias):
        noop.enqueue()
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_listening_channels()")
        assert heard == []
        assert len(connections[alias].run_on_commit) == 1


def test_transactions_that_commit_right_after_a_hint_send_none(
    app: Soniq, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers look again in a moment, and a busy process would send one for every commit."""
    monkeypatch.setattr(sending, "QUIET", 3600.0)
    with hints(alias) as heard:
        for _ in range(3):
            with transaction.atomic(using=alias):
                noop.enqueue()
                noop.using(queue="emails").enqueue()

    assert heard == ["default", "emails"]


def test_a_job_without_a_hint_of_its_own_is_found_by_the_second_look(
    app: Soniq, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the worker had time to find nothing between the hint and the job's commit."""
    monkeypatch.setattr(sending, "QUIET", 3600.0)
    looked: list[str | None] = []
    listener = Listener(alias, looked.append)
    try:
        wait_until_sync(lambda: looked == [None, None])  # as it begins to listen, and once more
        with transaction.atomic(using=alias):
            noop.enqueue()
        wait_until_sync(lambda: len(looked) > 2)
        with transaction.atomic(using=alias):
            noop.enqueue()
        wait_until_sync(lambda: looked[2:] == ["default", "default"])
    finally:
        listener.close()


def test_a_job_with_a_hint_of_its_own_is_looked_for_once(app: Soniq, alias: str) -> None:
    """Nobody relies on that hint, so it has no second look, which might be in the way of the next job."""
    looked: list[str | None] = []
    listener = Listener(alias, looked.append)
    try:
        wait_until_sync(lambda: looked == [None, None])
        noop.enqueue()
        with transaction.atomic(using=alias):
            noop.using(queue="emails").enqueue()
        wait_until_sync(lambda: looked[-2:] == ["emails", "emails"])
    finally:
        listener.close()

    assert looked[2:] == ["default", "emails", "emails"]


def test_a_rolled_back_block_hints_at_nothing(app: Soniq, alias: str) -> None:
    """No job, no wake-up."""
    with hints(alias) as heard, pytest.raises(Undo), transaction.atomic(using=alias):
        noop.enqueue()
        raise Undo

    assert heard == []


def test_a_rolled_back_savepoint_takes_only_its_own_hint(app: Soniq, alias: str) -> None:
    """A job outside of the savepoint is hinted at, even if one inside came first."""
    with hints(alias) as heard, transaction.atomic(using=alias):
        with pytest.raises(Undo), transaction.atomic(using=alias):
            noop.enqueue()
            raise Undo
        noop.enqueue()
        with pytest.raises(Undo), transaction.atomic(using=alias):
            noop.using(queue="lost").enqueue()
            raise Undo

    assert "default" in heard


def test_notify_can_be_turned_off(alias: str) -> None:
    """SONIQ["NOTIFY"] = False: nothing is sent, nothing listens."""
    backend = DjangoBackend(alias, notify=False)
    with default_app(Soniq(backend=backend)), hints(alias) as heard:
        noop.enqueue()

    assert heard == []
    assert not backend.subscribe(lambda queue: None).healthy


async def test_an_idle_worker_is_woken(app: Soniq, alias: str) -> None:
    """Long before its poll would have come."""
    patient = Soniq(backend=DjangoBackend(alias), environment=DjangoEnvironment(), poll_interval=600.0)
    worker = patient.worker(concurrency=1)
    running = asyncio.create_task(worker.run())
    try:
        await wait_until(lambda: worker.listening, timeout=10)
        job_id = await patient.enqueue(noop)

        async def is_done() -> bool:
            job = await patient.get_job(job_id)
            return job is not None and job["status"] == "done"

        await wait_until(is_done, timeout=5)
    finally:
        worker.stop()
        await running
        await sync_to_async(connections.close_all)()


def terminate_listeners(alias: str) -> None:
    """As an administrator does, or a server that restarts."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'soniq listener' AND datname = current_database()"
        )


def test_a_broken_listener_listens_again(app: Soniq, alias: str) -> None:
    """Terminated by the server, it reconnects, and wakes its worker as it may have missed hints."""
    woken = threading.Event()
    listener = Listener(alias, lambda queue: woken.set())
    try:
        assert woken.wait(10)  # it listens
        woken.clear()
        terminate_listeners(alias)

        assert woken.wait(10)
        woken.clear()
        noop.enqueue()
        assert woken.wait(5)
    finally:
        listener.close()


@pytest.mark.slow
async def test_each_loss_of_the_listener_is_counted(alias: str) -> None:
    """By all sinks that can; an end that was wanted is none."""
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    sinks = [PrometheusSink(registry), OpenTelemetrySink(MeterProvider([reader]), TracerProvider())]
    for sink in sinks:
        app = Soniq(backend=DjangoBackend(alias), environment=DjangoEnvironment(), metrics_sink=sink)
        worker = app.worker(concurrency=1)
        running = asyncio.create_task(worker.run())
        try:
            for _ in range(2):
                await wait_until(lambda worker=worker: worker.listening, timeout=10)
                await sync_to_async(terminate_listeners)(alias)
                await wait_until(lambda worker=worker: not worker.listening, timeout=10)
            await wait_until(lambda worker=worker: worker.listening, timeout=10)
        finally:
            worker.stop()
            await running
            await sync_to_async(connections.close_all)()

    assert registry.get_sample_value("soniq_listener_losses_total", {"reason": "connection"}) == 2
    [losses] = [
        point
        for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "soniq.listener.losses"
        for point in metric.data.data_points
    ]
    assert (losses.value, dict(losses.attributes)) == (2, {"error.type": "connection"})


def test_a_closed_listener_ends_its_thread(app: Soniq, alias: str) -> None:
    """And its connection."""
    listener = Listener(alias, lambda queue: None)
    listener.close()

    assert "soniq-listener" not in [thread.name for thread in threading.enumerate()]
