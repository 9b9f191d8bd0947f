"""Where spans also go: exporters and processors beside ours."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult

from otel_research.errors import ConfigurationError

Forward = Any
""" "otlp" | SpanExporter | SpanProcessor | a list of those."""

_HONOURS_THE_FLAG = (BatchSpanProcessor, SimpleSpanProcessor)

_logger = logging.getLogger("otel_research")


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


class Lent(SpanExporter):
    """A user's exporter in a batch processor of ours: closing the recorder ends the batches, not the exporter."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.exporter = exporter
        self.is_given_back = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Pass on."""
        return self.exporter.export(spans)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Pass on."""
        return self.exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Pass on, unless it has been given back to its owner."""
        if not self.is_given_back:
            self.exporter.shutdown()


class Forwarding(SpanProcessor):
    """The one place on a provider where a recorder's `forward=` hangs; empty when no recorder is open.

    A processor cannot be taken off a provider, so without it every new recorder would forward
    everything once more.
    """

    def __init__(self) -> None:
        # Replaced as a whole, so that spans on other threads see the old ones or the new ones.
        self._span_processors: tuple[SpanProcessor, ...] = ()

    def use(self, processors: Sequence[SpanProcessor]) -> None:
        """Forward to these from now on."""
        self._span_processors = tuple(processors)

    def release(self) -> None:
        """Forward no more: what is queued is sent, what is ours is ended, what is the user's stays open."""
        processors, self._span_processors = self._span_processors, ()
        for processor in processors:
            try:
                _ended(processor)
            except Exception as error:
                _logger.warning("otel_research: %s could not be ended: %s", type(processor).__name__, error)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass on."""
        for processor in self._span_processors:
            processor.on_start(span, parent_context=parent_context)

    def _on_ending(self, span: Span) -> None:
        for processor in self._span_processors:
            processor._on_ending(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass on."""
        for processor in self._span_processors:
            processor.on_end(span)

    def shutdown(self) -> None:
        """Pass on: the provider ends, and with it everything on it."""
        for processor in self._span_processors:
            processor.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Pass on; True when every one says so."""
        # Every one is flushed, also after one that could not.
        answers = [processor.force_flush(timeout_millis) for processor in self._span_processors]
        return all(answers)


def _ended(processor: Any) -> None:
    exporter = getattr(processor, "span_exporter", None)
    if isinstance(exporter, Lent):
        exporter.is_given_back = True
        processor.shutdown()
    elif isinstance(processor, _OwnBatch):
        processor.shutdown()  # type: ignore[no-untyped-call]
    else:
        processor.force_flush()


class _OwnBatch(BatchSpanProcessor):
    """A batch processor whose exporter is ours too."""


def processors(forward: Forward) -> list[SpanProcessor]:
    """The span processors that a `forward=` argument asks for."""
    if forward is None:
        return []
    if isinstance(forward, Sequence) and not isinstance(forward, str):
        return [processor for item in forward for processor in processors(item)]
    return [_processor(forward)]


def _processor(forward: Forward) -> SpanProcessor:
    if isinstance(forward, SpanProcessor):
        # The provider's sampling decision governs what is forwarded, also to one that does not look at it.
        return forward if isinstance(forward, _HONOURS_THE_FLAG) else SampledOnly(forward)
    if isinstance(forward, SpanExporter):
        return BatchSpanProcessor(Lent(forward))
    if forward == "otlp":
        return _OwnBatch(_otlp_exporter())
    raise ConfigurationError(
        f"forward={forward!r} is not understood: use 'otlp', a SpanExporter, a SpanProcessor or a list of those."
    )


def _otlp_exporter() -> SpanExporter:
    """The exporter that the standard variables ask for; they also give endpoint and headers."""
    signal = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    protocol = signal or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http()


def same(first: Forward, second: Forward) -> bool:
    """Whether two `forward=` arguments ask for the same thing: text by value, objects by identity."""
    a, b = _flat(first), _flat(second)
    return len(a) == len(b) and all(x is y or (isinstance(x, str) and x == y) for x, y in zip(a, b, strict=True))


def _flat(forward: Forward) -> list[Any]:
    if forward is None:
        return []
    if isinstance(forward, Sequence) and not isinstance(forward, str):
        return [found for item in forward for found in _flat(item)]
    return [forward]
