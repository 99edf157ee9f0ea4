"""Metrics: what a scrape and an export say of jobs that ran."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import soniq
from soniq import Snooze, Soniq
from soniq.errors import BackendUnavailable
from soniq.ids import uuid7
from soniq.jobs import NewJob
from soniq.testing import make_app, wait_until
from soniq_django.backend import DjangoBackend
from soniq_django.metrics import begin_worker, load_sink
from soniq_django.metrics.opentelemetry import OpenTelemetrySink
from soniq_django.metrics.prometheus import PrometheusSink, QueueCollector, view
from soniq_django.metrics.queues import State, read_state
from soniq_django.models import Worker
from tests.support.vendors import ALIASES


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name: the values of their labels, and their values."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def declare(app: Soniq) -> None:
    """One job for each way to end."""

    @app.job(name="works", queue="emails")
    def works() -> None:
        pass

    @app.job(name="aworks", queue="emails")
    async def aworks() -> None:
        pass

    @app.job(name="fails", max_retries=1, retry_delay=0)
    def fails() -> None:
        raise ValueError("no")

    @app.job(name="sleeps")
    async def sleeps() -> Snooze:
        return Snooze(60)


async def run_all(app: Soniq) -> None:
    declare(app)
    for name in ("works", "works", "aworks", "fails", "sleeps"):
        await app.enqueue(name)
    for _ in range(2):
        await app.run_worker(run_once=True)


# -- Prometheus


async def test_prometheus_counts_attempts_by_what_was_recorded_of_them() -> None:
    """In a registry of the library, under names of the kind it wants."""
    registry = CollectorRegistry()
    await run_all(make_app(metrics_sink=PrometheusSink(registry)))

    assert samples(registry, "soniq_jobs_enqueued_total") == {
        ("works", "emails"): 2,
        ("aworks", "emails"): 1,
        ("fails", "default"): 1,
        ("sleeps", "default"): 1,
    }
    assert samples(registry, "soniq_job_attempts_total") == {
        ("works", "emails", "succeed"): 2,
        ("aworks", "emails", "succeed"): 1,
        ("fails", "default", "retry"): 1,
        ("fails", "default", "bury"): 1,
        ("sleeps", "default", "snooze"): 1,
    }
    assert samples(registry, "soniq_dead_letters_total") == {("fails", "default", "max_retries_exceeded"): 1}
    assert samples(registry, "soniq_jobs_in_progress") == {("emails",): 0, ("default",): 0}
    assert samples(registry, "soniq_job_duration_seconds_count") == {
        ("works", "emails"): 2,
        ("aworks", "emails"): 1,
        ("fails", "default"): 2,
        ("sleeps", "default"): 1,
    }
    assert samples(registry, "soniq_job_latency_seconds_count") == {("emails",): 3, ("default",): 3}


async def test_latency_is_from_the_due_time_to_the_start() -> None:
    """A delayed job is not late before its time."""
    registry = CollectorRegistry()
    app = make_app(metrics_sink=PrometheusSink(registry))
    declare(app)
    await app.enqueue("works", scheduled_at=timezone.now() - timedelta(minutes=2))
    await app.enqueue("sleeps", scheduled_at=0.05)
    await wait_until(lambda: app.backend.count_due() == 2)
    await app.run_worker(run_once=True)

    waited = samples(registry, "soniq_job_latency_seconds_sum")
    assert 120 <= waited[("emails",)] < 180
    assert 0 <= waited[("default",)] < 60


async def test_a_dropped_outcome_is_counted_as_dropped() -> None:
    """And the gauge comes down again."""
    registry = CollectorRegistry()
    app = make_app(metrics_sink=PrometheusSink(registry))

    @app.job(name="work")
    async def work(ctx: soniq.JobContext) -> None:
        app.backend.delete_job(ctx.job_id)

    await app.enqueue(work)
    await app.run_worker(run_once=True)

    assert samples(registry, "soniq_job_attempts_total") == {("work", "default", "dropped"): 1}
    assert samples(registry, "soniq_jobs_in_progress") == {("default",): 0}


async def test_jobs_that_were_claimed_and_never_started_count_as_nothing() -> None:
    """They are given back; an attempt that was no attempt must not bring the gauge below zero."""
    registry = CollectorRegistry()
    app = make_app(metrics_sink=PrometheusSink(registry), shutdown_timeout=0.0)
    go = []

    @app.job(name="work")
    async def work() -> None:
        go.append(1)
        worker.stop()
        await asyncio.sleep(0)  # the others stay where they are, in the hands of the worker

    await app.enqueue_many(work, [{}] * 5)
    worker = app.worker(concurrency=1)
    worker._pace.wanted = lambda **facts: 5  # all of them at once, for one slot
    await worker.run()

    assert go == [1]
    assert sum(samples(registry, "soniq_job_attempts_total").values()) == 1
    assert samples(registry, "soniq_jobs_in_progress") == {("default",): 0}


# -- the queues


def put(alias: str, queue: str, count: int, age: float = 0.0, **fields: Any) -> None:
    due = timezone.now() - timedelta(seconds=age)
    jobs = [
        NewJob(str(uuid7()), "work", "{}", queue, fields.get("priority", 100), 1, scheduled_at=due)
        for _ in range(count)
    ]
    DjangoBackend(alias, notify=False).enqueue(jobs)


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_depth_and_age_are_those_of_due_jobs_queue_by_queue(alias: str) -> None:
    """Delayed ones are not late; the oldest counts, whatever its priority."""
    put(alias, "emails", 3, age=5)
    put(alias, "emails", 2, age=600, priority=900)
    put(alias, "emails", 4, age=-3600)
    put(alias, "later", 2, age=-3600)
    put(alias, "default", 1, age=60)
    Worker.objects.using(alias).create(pk=uuid7(), hostname="h", pid=1, concurrency=7)
    Worker.objects.using(alias).create(pk=uuid7(), hostname="h", pid=2, concurrency=2)
    silent = Worker.objects.using(alias).create(pk=uuid7(), hostname="h", pid=3, concurrency=9)
    Worker.objects.using(alias).filter(pk=silent.pk).update(
        last_heartbeat_at=timezone.now() - timedelta(seconds=100)
    )

    state = read_state(alias, dead_after=45.0)

    found = {queue.queue: (queue.due, queue.delayed, round(queue.age, -1)) for queue in state.queues}
    assert found == {"emails": (5, 4, 600), "default": (1, 0, 60), "later": (0, 2, 0)}
    assert (state.workers, state.slots) == (2, 9)


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
def test_a_look_at_the_queues_counts_so_far_and_no_further(alias: str, monkeypatch: Any) -> None:
    """A scrape must not make things worse when millions of jobs wait."""
    monkeypatch.setattr("soniq_django.status.depth.CAP", 5)
    put(alias, "default", 4, age=50, priority=1)
    put(alias, "default", 9, age=5, priority=2)
    put(alias, "default", 9, age=500, priority=3)

    with CaptureQueriesContext(connections[alias]) as queries:
        [queue] = read_state(alias, dead_after=45.0).queues

    assert (queue.due, queue.delayed, round(queue.age, -1)) == (5, 0, 500)
    assert len(queries) < 25
    assert all("LIMIT" in query["sql"] for query in queries)


def test_a_scrape_says_so_if_the_database_is_away() -> None:
    """What else there is to scrape gets through."""

    def read() -> State:
        raise BackendUnavailable("away")

    registry = CollectorRegistry()
    registry.register(QueueCollector(read))

    assert samples(registry, "soniq_database_up") == {(): 0}
    assert samples(registry, "soniq_workers") == {}


@pytest.mark.django_db(databases="__all__")
def test_the_view_is_a_scrape_of_counters_and_queues() -> None:
    """In the format that Prometheus asks for; nothing may keep it."""
    put("default", "emails", 2)
    load_sink("prometheus")

    response = view(RequestFactory().get("/metrics"))

    families = {family.name: family for family in text_string_to_metric_families(response.content.decode())}
    assert response["Content-Type"].startswith("text/plain")
    assert "no-store" in response["Cache-Control"]
    [depth] = families["soniq_queue_depth"].samples
    assert (depth.labels, depth.value) == ({"queue": "emails"}, 2)
    assert {"soniq_workers", "soniq_database_up", "soniq_job_attempts", "soniq_dead_letters"} <= set(families)
    assert view(RequestFactory().post("/metrics")).status_code == 405
    openmetrics = view(RequestFactory().get("/metrics", headers={"accept": "application/openmetrics-text"}))
    assert openmetrics["Content-Type"].startswith("application/openmetrics-text")
    assert openmetrics.content.endswith(b"# EOF\n")


# -- a worker process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def worker(tmp_path: Path, transactional_db: None) -> Iterator[int]:
    """A worker process on the test's database that answers scrapes; its port."""
    (tmp_path / "metrics_settings.py").write_text(
        "from tests.settings import *\nSONIQ = {'METRICS': 'prometheus', 'POLL_INTERVAL': 0.1}\n"
    )
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "django", "soniq_worker", "--metrics-port", str(port)],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "metrics_settings",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield port
    process.terminate()
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output


def scrape(port: int) -> dict[str, dict[tuple[str, ...], float]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.mark.django_db(transaction=True)
async def test_a_worker_process_answers_scrapes_about_what_it_ran(worker: int) -> None:
    """Over HTTP, with what the database says beside it."""
    from tests.yard.jobs import noop

    await noop.aenqueue()
    done = ("yard.noop", "succeed", "default")  # in order of the labels' names

    await wait_until(
        lambda: scrape(worker).get("soniq_job_attempts_total", {}).get(done) == 1, timeout=20, poll=0.1
    )

    found = scrape(worker)
    assert found["soniq_workers"] == {(): 1}
    assert found["soniq_worker_slots"] == {(): 4}
    assert found["soniq_database_up"] == {(): 1}
    assert found["soniq_jobs_in_progress"] == {("default",): 0}
    assert found["soniq_job_latency_seconds_count"] == {("default",): 1}


def test_a_port_that_is_taken_is_told_and_keeps_no_worker_from_its_jobs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The one before may hold it a while longer."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        begin_worker("prometheus", port, {})
        begin_worker("prometheus", f"127.0.0.1:{port - 2}", {"SONIQ_SUPERVISED": "3"})

    lines = [record.getMessage() for record in caplog.records if record.name == "soniq.metrics"]
    assert len(lines) == 2
    assert all(f"cannot listen on 127.0.0.1:{port} (" in line for line in lines)


def test_a_port_without_anything_to_scrape_is_an_error() -> None:
    """Somebody would wait for metrics there."""
    with pytest.raises(ImproperlyConfigured, match="make it 'prometheus'"):
        begin_worker(None, 9100, {})


def test_a_sink_of_the_project_is_found_by_its_path() -> None:
    """A class is called; an object is taken as it is."""
    assert isinstance(load_sink("tests.django.test_metrics.OwnSink"), OwnSink)
    assert load_sink("tests.django.test_metrics.own_sink") is own_sink


class OwnSink:
    """The least that a sink has to be."""

    def record_job_start(self, **facts: object) -> None:
        pass

    def record_job_end(self, **facts: object) -> None:
        pass


own_sink = OwnSink()

# -- OpenTelemetry


@pytest.fixture
def telemetry() -> Iterator[tuple[OpenTelemetrySink, InMemoryMetricReader, InMemorySpanExporter]]:
    """A sink, and what it exports, kept in memory by the SDK."""
    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    meters, tracers = MeterProvider([reader]), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    yield OpenTelemetrySink(meters, tracers), reader, spans
    meters.shutdown()
    tracers.shutdown()


def points(reader: InMemoryMetricReader) -> dict[str, list[dict[str, Any]]]:
    """All points of one export, by the name of their metric."""
    data = reader.get_metrics_data()
    assert data is not None
    found: dict[str, list[dict[str, Any]]] = {}
    for resource in json.loads(data.to_json())["resource_metrics"]:
        for scope in resource["scope_metrics"]:
            for metric in scope["metrics"]:
                found.setdefault(metric["name"], []).extend(metric["data"]["data_points"])
    return found


async def test_opentelemetry_exports_what_became_of_attempts(telemetry: Any) -> None:
    """By the conventions for messaging: a queue is a destination, an attempt is a message processed."""
    sink, reader, _ = telemetry
    await run_all(make_app(metrics_sink=sink))

    found = points(reader)
    ended = {
        (point["attributes"]["soniq.job.name"], point["attributes"]["soniq.job.outcome"]): point["count"]
        for point in found["messaging.process.duration"]
    }
    assert ended == {
        ("works", "succeed"): 2,
        ("aworks", "succeed"): 1,
        ("fails", "retry"): 1,
        ("fails", "bury"): 1,
        ("sleeps", "snooze"): 1,
    }
    assert all(
        ("error.type" in point["attributes"]) == (point["attributes"]["soniq.job.name"] == "fails")
        for point in found["messaging.process.duration"]
    )
    assert sum(point["value"] for point in found["messaging.client.sent.messages"]) == 5
    assert [point["value"] for point in found["soniq.jobs.active"]] == [0, 0]
    assert sum(point["count"] for point in found["soniq.job.latency"]) == 6
    [letter] = found["soniq.dead_letters"]
    assert letter["attributes"]["soniq.dead_letter.reason"] == "max_retries_exceeded"


async def test_each_attempt_is_a_consumer_span_that_holds_its_error(telemetry: Any) -> None:
    """Named by its operation and queue, as the conventions say."""
    sink, _, spans = telemetry
    await run_all(make_app(metrics_sink=sink))

    finished = spans.get_finished_spans()
    assert {span.kind for span in finished} == {SpanKind.CONSUMER}
    assert sorted(span.name for span in finished) == ["process default"] * 3 + ["process emails"] * 3
    failed = [span for span in finished if span.status.status_code is StatusCode.ERROR]
    assert [span.attributes["soniq.job.name"] for span in failed] == ["fails", "fails"]
    assert sorted(span.attributes["soniq.job.attempt"] for span in failed) == [1, 2]
    assert failed[0].events[0].attributes["exception.type"] == "ValueError"


def register_traced(app: Soniq, sink: OpenTelemetrySink, form: str) -> Any:
    """Register a job ``work``, in one of three forms, that starts a span ``inner``; return the tracer."""
    tracer = sink._tracer

    def work() -> None:
        with tracer.start_as_current_span("inner"):
            pass

    async def awork() -> None:
        work()

    if form == "middleware":

        @app.middleware
        async def through(ctx: Any, call_next: Any) -> Any:
            return await call_next()

    app.job(name="work")(awork if form == "async" else work)
    return tracer


@pytest.mark.parametrize("form", ["sync", "async", "middleware"])
async def test_spans_that_a_job_starts_are_children_of_its_own(telemetry: Any, form: str) -> None:
    """Wherever its code runs; and the span ends with the job."""
    sink, _, spans = telemetry
    app = make_app(metrics_sink=sink)
    register_traced(app, sink, form)
    await app.enqueue("work")
    await app.enqueue("work")
    await app.run_worker(run_once=True)

    finished = spans.get_finished_spans()
    outer = {span.context.span_id: span for span in finished if span.name == "process default"}
    inner = [span for span in finished if span.name == "inner"]
    assert len(outer) == len(inner) == 2
    assert {span.parent.span_id for span in inner} == set(outer)
    assert all(span.parent is None for span in outer.values())
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("form", ["sync", "async", "middleware"])
async def test_the_span_of_an_attempt_belongs_and_is_linked_to_the_trace_of_its_enqueue(
    telemetry: Any, form: str
) -> None:
    """And what the job's code starts, on whichever thread, stands below the span of the attempt."""
    sink, _, spans = telemetry
    app = make_app(metrics_sink=sink)
    tracer = register_traced(app, sink, form)
    with tracer.start_as_current_span("request") as request:
        await app.enqueue("work")
    await app.run_worker(run_once=True)

    found = {span.name: span for span in spans.get_finished_spans()}
    attempt = found["process default"]
    assert attempt.parent.span_id == request.get_span_context().span_id
    assert [link.context.span_id for link in attempt.links] == [request.get_span_context().span_id]
    assert found["inner"].parent.span_id == attempt.context.span_id
    assert len({span.context.trace_id for span in found.values()}) == 1


def test_opentelemetry_looks_at_the_queues_once_per_export(telemetry: Any, monkeypatch: Any) -> None:
    """Five gauges, one look; a database that is away costs these five, and nothing else."""
    sink, reader, _ = telemetry
    looks: list[int] = []

    def read() -> State:
        looks.append(1)
        if len(looks) > 1:
            raise BackendUnavailable("away")
        return State([], workers=2, slots=8)

    sink.watch_queues(read)
    sink.watch_queues(read)
    sink.record_enqueued(job_name="work", queue="q", count=1)

    found = points(reader)
    assert [point["value"] for point in found["soniq.workers"]] == [2]
    assert [point["value"] for point in found["soniq.worker.slots"]] == [8]
    assert looks == [1]

    monkeypatch.setattr("soniq_django.metrics.opentelemetry.FRESH", 0.0)
    monkeypatch.setattr("soniq_django.metrics.opentelemetry.time.monotonic", lambda: float("inf"))
    found = points(reader)
    assert "soniq.workers" not in found
    assert "messaging.client.sent.messages" in found
