"""Metrics and spans for OpenTelemetry, through its API; the project chooses SDK and exporters.

Names follow the semantic conventions for messaging systems where they have one: a queue is a destination,
an attempt is the processing of a message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Link, SpanKind, TracerProvider

from soniq.jobs import Claim
from soniq.steady import get_logger
from soniq_django.metrics.queues import State, read_state_alone

logger = get_logger("soniq.metrics")

SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 60.0, 300.0]
SYSTEM = "soniq"
FRESH = 1.0  # seconds for which one look at the queues is good


class OpenTelemetrySink:
    """A :class:`soniq.MetricsSink` that records measurements, and a span around each attempt.

    :param meters: None = the global provider, whenever it is set
    :param tracers: as ``meters``
    """

    def __init__(self, meters: MeterProvider | None = None, tracers: TracerProvider | None = None) -> None:
        self._meter = metrics.get_meter(SYSTEM, meter_provider=meters)
        self._tracer = trace.get_tracer(SYSTEM, tracer_provider=tracers)
        self._sent = self._meter.create_counter("messaging.client.sent.messages", "{message}", "Jobs written")
        self._running = self._meter.create_up_down_counter(
            "soniq.jobs.active", "{job}", "Attempts whose outcome is not recorded yet"
        )
        self._latency = self._meter.create_histogram(
            "soniq.job.latency",
            "s",
            "From the time at which a job was due to the start of the attempt",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._duration = self._meter.create_histogram(
            "messaging.process.duration",
            "s",
            "How long attempts took",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._dead_letters = self._meter.create_counter(
            "soniq.dead_letters", "{job}", "Jobs that became dead letters"
        )
        self._listener_losses = self._meter.create_counter(
            "soniq.listener.losses",
            "{loss}",
            "How often workers no longer heard of new jobs at once, and listened anew",
        )
        self._watches = False

    def record_enqueued(self, *, job_name: str, queue: str, count: int) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._sent.add(count, _attributes(job_name, queue, "enqueue"))

    def record_job_start(self, *, job_name: str, queue: str) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._running.add(1, {"messaging.destination.name": queue})

    def record_job_latency(self, *, job_name: str, queue: str, seconds: float) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._latency.record(seconds, {"messaging.destination.name": queue})

    def record_job_end(self, *, job_name: str, queue: str, status: str, duration_s: float) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._running.add(-1, {"messaging.destination.name": queue})
        attributes = _attributes(job_name, queue, "process") | {"soniq.job.outcome": status}
        if status in ("retry", "bury"):
            attributes["error.type"] = "_OTHER"
        self._duration.record(duration_s, attributes)

    def record_dead_letter(self, *, job_name: str, queue: str, reason: str) -> None:
        """See :class:`soniq.MetricsSink`."""
        attributes = {"messaging.destination.name": queue, "soniq.job.name": job_name}
        self._dead_letters.add(1, attributes | {"soniq.dead_letter.reason": reason})

    def record_listener_lost(self, *, reason: str) -> None:
        """See :class:`soniq.MetricsSink`."""
        self._listener_losses.add(1, {"error.type": reason})

    def around_job(self, claim: Claim) -> AbstractContextManager[Any]:
        """A consumer span, current while the job's code runs; it takes down what the job raises.

        Where the context of the enqueue was restored, the span is a child of it, and linked to it.
        """
        creator = trace.get_current_span().get_span_context()
        return self._tracer.start_as_current_span(
            f"process {claim.queue}",
            kind=SpanKind.CONSUMER,
            attributes=_attributes(claim.job_name, claim.queue, "process")
            | {
                "messaging.operation.type": "process",
                "messaging.message.id": claim.job_id,
                "soniq.job.attempt": claim.attempt,
            },
            links=[Link(creator)] if creator.is_valid and creator.is_remote else [],
        )

    def watch_queues(self, read: Callable[[], State] = read_state_alone) -> None:
        """From now on report depth and age of queues, and the workers that live, at each export.

        Every process that does so reports the same; take the maximum, not the sum.
        """
        if self._watches:
            return
        self._watches = True

        look = _Look(read)
        for name, unit, about, values in _GAUGES:
            self._meter.create_observable_gauge(name, [partial(look.observe, values)], unit, about)


@cache
def shared_sink() -> OpenTelemetrySink:
    """The sink of the global providers; what ``SONIQ["METRICS"] = "opentelemetry"`` means."""
    return OpenTelemetrySink()


def _attributes(job_name: str, queue: str, operation: str) -> dict[str, Any]:
    return {
        "messaging.system": SYSTEM,
        "messaging.destination.name": queue,
        "messaging.operation.name": operation,
        "soniq.job.name": job_name,
    }


class _Look:
    """One look at the queues per export: its gauges are asked one right after the other."""

    def __init__(self, read: Callable[[], State]) -> None:
        self._read = read
        self._state: State | None = None
        self._until = 0.0

    def observe(
        self, values: Callable[[State], list[Observation]], _options: CallbackOptions
    ) -> Iterable[Observation]:
        """What the last look says; without one, nothing."""
        if time.monotonic() >= self._until:
            self._state = None
            try:
                self._state = self._read()
            except Exception as error:  # noqa: BLE001  # the exporter's thread goes on, without these
                line = " ".join(str(error).split())
                logger.warning("the queues could not be read for an export: %s", line)
            self._until = time.monotonic() + FRESH
        return [] if self._state is None else values(self._state)


_GAUGES: list[tuple[str, str, str, Callable[[State], list[Observation]]]] = [
    (
        "soniq.queue.depth",
        "{job}",
        "Due jobs that wait",
        lambda state: [_of_queue(queue.due, queue.queue) for queue in state.queues],
    ),
    (
        "soniq.queue.delayed",
        "{job}",
        "Jobs that wait for their time",
        lambda state: [_of_queue(queue.delayed, queue.queue) for queue in state.queues],
    ),
    (
        "soniq.queue.age",
        "s",
        "How long the first due job has waited",
        lambda state: [_of_queue(queue.age, queue.queue) for queue in state.queues],
    ),
    ("soniq.workers", "{worker}", "Workers whose heart beat lately", lambda s: [Observation(s.workers)]),
    ("soniq.worker.slots", "{slot}", "Jobs that they can run at a time", lambda s: [Observation(s.slots)]),
]


def _of_queue(value: float, queue: str) -> Observation:
    return Observation(value, {"messaging.destination.name": queue})
