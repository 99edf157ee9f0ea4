"""Traces, where SHOP_METRICS=opentelemetry asks for them: var/traces.jsonl gets a line for each span.

A real project has the exporter of its provider here, and a package that makes the spans of requests.
"""

from collections.abc import Callable, Sequence

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult


class FileExporter(SpanExporter):
    """The site and its workers write to the same file."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with (settings.VAR_DIR / "traces.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(f"{span.to_json(indent=None)}\n" for span in spans)
        return SpanExportResult.SUCCESS


def set_up() -> None:
    """In each process: the spans of jobs, which soniq makes, go where all others go."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(FileExporter()))
    trace.set_tracer_provider(provider)


class TraceMiddleware:
    """Each request is a span. What it enqueues belongs to its trace, whoever runs it, and whenever."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with trace.get_tracer("shop").start_as_current_span(f"{request.method} {request.path}"):
            return self.get_response(request)
