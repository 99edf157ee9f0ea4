"""Trace context: the spans of a job belong to the trace of whoever enqueued it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider

from soniq import tracing
from tests.support.docs import ROOT

tracer = TracerProvider().get_tracer("tests")


def ids():
    span = trace.get_current_span().get_span_context()
    return [f"{span.trace_id:032x}", f"{span.span_id:016x}", span.is_remote]


@pytest.mark.parametrize("kind", ["sync", "async", "sync with middleware"])
async def test_a_job_belongs_to_the_trace_of_its_enqueue(any_app, kind):
    """The enqueuing span is the parent of what the job's spans would be; without one there is none."""
    if "middleware" in kind:

        @any_app.middleware
        async def transparent(ctx, call_next):
            return await call_next()

    def on_thread():
        return [*ids(), baggage.get_baggage("tenant")]

    async def in_loop():
        await asyncio.sleep(0)
        return on_thread()

    work = any_app.job(name="work")(in_loop if kind == "async" else on_thread)
    with tracer.start_as_current_span("request"):
        trace_id, span_id, _ = ids()
        token = context.attach(baggage.set_baggage("tenant", "ä cme"))
        traced = await any_app.enqueue(work)
        context.detach(token)
    plain = await any_app.enqueue(work)
    await any_app.run_worker(run_once=True)

    assert await any_app.get_result(traced) == [trace_id, span_id, True, "ä cme"]
    assert await any_app.get_result(plain) == ["0" * 32, "0" * 16, False, None]
    stored = (await any_app.get_job(traced))["context"]["trace"]
    assert stored["traceparent"].startswith(f"00-{trace_id}-{span_id}-")
    assert set(stored) == {"traceparent", "baggage"}
    assert (await any_app.get_job(plain))["context"] is None


async def test_a_span_that_a_job_opens_is_a_child_of_the_enqueuing_one(app):
    """Which is what the reader of a trace wants to see."""

    @app.job
    def work():
        with tracer.start_as_current_span("job") as span:
            return [span.parent.span_id, ids()[0]]

    with tracer.start_as_current_span("request") as request:
        job_id = await app.enqueue(work)
        trace_id = ids()[0]
    await app.run_worker(run_once=True)
    assert await app.get_result(job_id) == [request.get_span_context().span_id, trace_id]


def test_baggage_that_is_too_large_stays_behind():
    """The trace goes without it."""
    with tracer.start_as_current_span("request"):
        token = context.attach(baggage.set_baggage("bulk", "x" * tracing.MAX_BYTES))
        carrier = tracing.capture()
        context.detach(token)
    assert set(carrier) == {"traceparent"}


@pytest.mark.parametrize("carrier", [{}, [], "text", None, {"traceparent": "garbage"}, {"a": 5}], ids=repr)
def test_a_stored_trace_that_is_none_is_passed_over(carrier):
    """A row may have been edited by hand."""
    with tracing.restore(carrier):
        assert ids()[0] == "0" * 32


PROGRAM = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry" and BLOCKED:
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import asyncio, json
from soniq.jobs import NewJob
from soniq.ids import uuid7_text
from soniq.testing import make_app
app = make_app()
@app.job(name="work")
def work():
    return "ran"
async def main():
    job_id = await app.enqueue(work)
    parent = "00-" + "1" * 32 + "-" + "1" * 16 + "-01"
    context = json.dumps({"trace": {"traceparent": parent}})
    traced = NewJob(uuid7_text(), "work", "{}", "default", 100, 1, context_json=context)
    loaded = "opentelemetry" in sys.modules
    app.backend.enqueue([traced])
    await app.run_worker(run_once=True)
    context = (await app.get_job(job_id))["context"]
    print(json.dumps([loaded, await app.get_result(job_id), context, await app.get_result(traced.id)]))
asyncio.run(main())
"""


@pytest.mark.parametrize("installed", [True, False])
def test_without_opentelemetry_nothing_happens(installed):
    """Nor is it imported for an enqueue: a program that has not imported it has no trace."""
    program = PROGRAM.replace("BLOCKED", str(not installed))
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout) == [False, "ran", None, "ran"]
