"""`opentelemetry_traces_exporter`: "research" in OTEL_TRACES_EXPORTER, or among a file's exporters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_research.hooks.asked import RECORDS, note
from otel_research.hooks.guard import swallowing
from otel_research.hooks.start import begin


class RunExporter(SpanExporter):
    """Makes the run an experiment, and stores nothing itself.

    OpenTelemetry puts every exporter that is named behind a queue that drops spans when it is
    full. So being named is what counts: our processor takes the spans before any queue.
    """

    def __init__(self, **_: Any) -> None:
        note(RECORDS[0])
        _begin_where_there_is_a_provider()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """The processor has them already; FAILURE where recording could not be set up."""
        from otel_research import recorder

        return SpanExportResult.FAILURE if recorder.current() is None else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """The recorder ends with the process."""


@swallowing
def _begin_where_there_is_a_provider() -> None:
    """Set up by variables the provider is there before its exporters; set up by a file it comes later."""
    from otel_research.capture.attach import find_provider

    if find_provider() is not None:
        begin()
