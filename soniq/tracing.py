"""W3C trace context: the spans of a job belong to the trace of whoever enqueued it.

Through OpenTelemetry's own propagator, so ``OTEL_PROPAGATORS`` holds here, too; by default that is
``traceparent``, ``tracestate`` and ``baggage``. Where OpenTelemetry is not installed, or nothing of the
program has imported it, nothing happens, and it is not imported for this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from soniq.jobs import JSON

KEY = "trace"
MAX_BYTES = 3500  # of all headers together; above it the baggage stays behind


def capture() -> JSON:
    """The headers that carry the caller's trace; None without one."""
    opentelemetry = sys.modules.get("opentelemetry.context")
    if opentelemetry is None or not opentelemetry.get_current():
        return None
    from opentelemetry import propagate  # noqa: PLC0415  # installed: its sister module is loaded

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    if sum(map(len, carrier.values())) > MAX_BYTES:
        carrier.pop("baggage", None)
    return carrier or None


@contextmanager
def restore(carrier: JSON) -> Iterator[None]:
    """The trace that the headers tell is the current one; within a span of this process that is part of it
    already, nothing changes.
    """
    try:
        from opentelemetry import context, propagate, trace  # noqa: PLC0415  # may not be installed
    except ImportError:
        yield
        return
    found = propagate.extract(carrier if isinstance(carrier, dict) else {})
    told, current = (trace.get_current_span(of).get_span_context() for of in (found, None))
    if current.is_valid and not current.is_remote and current.trace_id == told.trace_id:
        yield  # such as the span of the attempt, on the thread of its sync code
        return
    token = context.attach(found)
    try:
        yield
    finally:
        context.detach(token)
