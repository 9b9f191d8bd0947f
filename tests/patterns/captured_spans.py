"""What the patterns' tests look at: spans in memory, and the frame a calculator would get."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

_SCHEMA = {
    **dict.fromkeys(["name", "trace_id", "span_id", "parent_span_id", "attributes"], pl.String),
    **dict.fromkeys(["start_ns", "end_ns"], pl.Int64),
    "is_call": pl.Boolean,
    "cost_usd": pl.Float64,
}


class Captured:
    """A provider of its own and what it exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def values(self, name: str, key: str) -> list[object]:
        return [(span.attributes or {}).get(key) for span in self.named(name)]

    def frame(self) -> pl.LazyFrame:
        """The columns that calculators read; a span named "call" is a model call, its cost an attribute."""
        spans = self._exporter.get_finished_spans()
        return pl.LazyFrame([_row(span) for span in spans], schema=_SCHEMA)

    def call(self, cost: float | None = None) -> Callable[[], None]:
        """Leaves the span that an instrumented client would leave."""

        def leave() -> None:
            with self.provider.get_tracer("client").start_as_current_span("call") as span:
                if cost is not None:
                    span.set_attribute("cost", cost)

        return leave


def _row(span: ReadableSpan) -> dict[str, object]:
    attributes = dict(span.attributes or {})
    return {
        "name": span.name,
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
        "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "attributes": json.dumps(attributes),
        "is_call": span.name == "call",
        "cost_usd": attributes.get("cost"),
    }
