"""Metrics for Prometheus, through ``prometheus_client``.

:class:`PrometheusSink` counts what this process does. :class:`QueueCollector` asks the database, at each
scrape, what waits. :func:`view` shows both to a scrape of a web process, :func:`serve` to one of a worker.

In multiprocess mode (``PROMETHEUS_MULTIPROC_DIR``, for web servers that fork) both show the sum of all
processes that share the directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder, start_wsgi_server
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from soniq.steady import get_logger
from soniq_django.metrics.queues import COUNTED, State, read_state, read_state_alone

logger = get_logger("soniq.metrics")

SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)  # buckets


class PrometheusSink:
    """A :class:`soniq.MetricsSink` that counts in a registry of ``prometheus_client``.

    A registry can have one of them. :func:`shared_sink` is that of the default registry.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._enqueued = Counter(
            "soniq_jobs_enqueued",
            "Jobs written, those of transactions that rolled back afterwards included",
            ("job_name", "queue"),
            registry=registry,
        )
        self._running = Gauge(
            "soniq_jobs_in_progress",
            "Attempts that began, and whose outcome is not recorded yet",
            ("queue",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._latency = Histogram(
            "soniq_job_latency_seconds",
            "From the time at which a job was due to the start of the attempt",
            ("queue",),
            registry=registry,
            buckets=SECONDS,
        )
        self._duration = Histogram(
            "soniq_job_duration_seconds",
            "How long attempts took",
            ("job_name", "queue"),
            registry=registry,
            buckets=SECONDS,
        )
        self._attempts = Counter(
            "soniq_job_attempts",
            "Attempts by what was recorded of them: succeed, retry, bury, snooze, interrupt, dropped",
            ("job_name", "queue", "outcome"),
            registry=registry,
        )
        self._dead_letters = Counter(
            "soniq_dead_letters",
            "Jobs that became dead letters",
            ("job_name", "queue", "reason"),
            registry=registry,
        )
        self._listener_losses = Counter(
            "soniq_listener_losses",
            "How often this worker no longer heard of new jobs at once, and listened anew",
            ("reason",),
            registry=registry,
        )
        # Looking a child up by its labels costs several times what counting does.
        self._running_of = cache(self._running.labels)
        self._latency_of = cache(self._latency.labels)
        self._duration_of = cache(self._duration.labels)
        self._attempts_of = cache(self._attempts.labels)

    def record_enqueued(self, *, job_name: str, queue: str, count: int) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._enqueued.labels(job_name, queue).inc(count)

    def record_job_start(self, *, job_name: str, queue: str) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._running_of(queue).inc()

    def record_job_latency(self, *, job_name: str, queue: str, seconds: float) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._latency_of(queue).observe(seconds)

    def record_job_end(self, *, job_name: str, queue: str, status: str, duration_s: float) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._running_of(queue).dec()
        self._duration_of(job_name, queue).observe(duration_s)
        self._attempts_of(job_name, queue, status).inc()

    def record_dead_letter(self, *, job_name: str, queue: str, reason: str) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._dead_letters.labels(job_name, queue, reason).inc()

    def record_listener_lost(self, *, reason: str) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._listener_losses.labels(reason).inc()


@cache
def shared_sink() -> PrometheusSink:
    """The sink of the default registry; what ``SONIQ["METRICS"] = "prometheus"`` means."""
    return PrometheusSink()


class QueueCollector(Collector):
    """Depth and age of queues, and the workers that live, asked for at each scrape.

    If the database cannot be asked, ``soniq_database_up`` is 0 and the others are absent.

    :param read: asks the database
    """

    def __init__(self, read: Callable[[], State]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register a collector must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        up = GaugeMetricFamily("soniq_database_up", "Whether the database of the jobs answered")
        try:
            state = self._read()
        except Exception as error:  # noqa: BLE001  # what else is in the scrape must get through
            logger.warning("the queues could not be read for a scrape: %s", " ".join(str(error).split()))
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        depth = GaugeMetricFamily(
            "soniq_queue_depth", f"Due jobs that wait; counted up to {COUNTED}", labels=["queue"]
        )
        delayed = GaugeMetricFamily(
            "soniq_queue_delayed", f"Jobs that wait for their time; counted up to {COUNTED}", labels=["queue"]
        )
        age = GaugeMetricFamily(
            "soniq_queue_age_seconds", "How long the first due job has waited", labels=["queue"]
        )
        for queue in state.queues:
            depth.add_metric([queue.queue], queue.due)
            delayed.add_metric([queue.queue], queue.delayed)
            age.add_metric([queue.queue], queue.age)
        yield up
        yield depth
        yield delayed
        yield age
        yield GaugeMetricFamily("soniq_workers", "Workers whose heart beat lately", value=state.workers)
        yield GaugeMetricFamily("soniq_worker_slots", "Jobs that they can run at a time", value=state.slots)


class Exposed(Collector):
    """What a scrape gets: what was counted, and the state of the queues."""

    def __init__(self, read: Callable[[], State]) -> None:
        self._queues = QueueCollector(read)

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        yield from _counted().collect()
        yield from self._queues.collect()


@require_safe
@never_cache
def view(request: HttpRequest) -> HttpResponse:
    """A scrape of this process. Whoever may ask sees the names of jobs and queues, so choose its place."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(Exposed(read_state)), content_type=content_type)


def serve(host: str, port: int) -> Callable[[], None]:
    """Answer scrapes on a thread of its own, at any path; returns what ends that.

    :raises OSError: nobody can listen there
    """
    server, thread = start_wsgi_server(port, host, registry=Exposed(read_state_alone))

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


def _counted() -> Collector:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library says no types here
    return registry
