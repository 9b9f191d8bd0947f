"""Where spans also go: exporters and processors beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from otel_research.errors import ConfigurationError

Forward = Any
""" "otlp" | SpanExporter | SpanProcessor | a list of those."""


def processors(forward: Forward) -> list[SpanProcessor]:
    """The span processors that a `forward=` argument asks for."""
    if forward is None:
        return []
    if isinstance(forward, Sequence) and not isinstance(forward, str):
        return [processor for item in forward for processor in processors(item)]
    return [_processor(forward)]


def _processor(forward: Forward) -> SpanProcessor:
    if isinstance(forward, SpanProcessor):
        return forward
    if isinstance(forward, SpanExporter):
        return BatchSpanProcessor(forward)
    if forward == "otlp":
        return BatchSpanProcessor(_otlp_exporter())
    raise ConfigurationError(
        f"forward={forward!r} is not understood: use 'otlp', a SpanExporter, a SpanProcessor or a list of those."
    )


def _otlp_exporter() -> SpanExporter:
    """The exporter that the standard variables ask for; they also give endpoint and headers."""
    import os

    signal = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    protocol = signal or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http()


class SampledOnly(SpanProcessor):
    """Shows a third-party processor only the spans that the host's sampler sampled.

    For one that ignores the sampled flag and would otherwise see the experiment's recorded-only
    spans too (`otel-research doctor` names such processors).
    """

    def __init__(self, processor: SpanProcessor) -> None:
        self.wrapped = processor

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass on a sampled span."""
        if span.get_span_context().trace_flags.sampled:
            self.wrapped.on_start(span, parent_context=parent_context)

    def _on_ending(self, span: Span) -> None:
        if span.get_span_context().trace_flags.sampled:
            self.wrapped._on_ending(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass on a sampled span."""
        context = span.context
        if context is not None and context.trace_flags.sampled:
            self.wrapped.on_end(span)

    def shutdown(self) -> None:
        """Pass on."""
        self.wrapped.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Pass on."""
        return self.wrapped.force_flush(timeout_millis)


def same(first: Forward, second: Forward) -> bool:
    """Whether two `forward=` arguments ask for the same thing: text by value, objects by identity."""
    a, b = _flat(first), _flat(second)
    return len(a) == len(b) and all(x is y or (isinstance(x, str) and x == y) for x, y in zip(a, b, strict=True))


def _flat(forward: Forward) -> list[Any]:
    if forward is None:
        return []
    if isinstance(forward, Iterable) and not isinstance(forward, str):
        return [found for item in forward for found in _flat(item)]
    return [forward]
