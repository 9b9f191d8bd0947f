"""The SDK's own `BatchSpanProcessor` with the OTLP exporter, as OpenTelemetry's documentation sets it up."""

from __future__ import annotations

from field.tools import Tracing

TITLE = "BatchSpanProcessor with OTLP"
PACKAGE = "opentelemetry-sdk"
NOT_RUN = {
    "frames": "an exporter has no data frames",
    "cost": "an exporter has no prices",
    "statistics": "an exporter has none",
}


def trace(backend: str) -> Tracing:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{backend}/v1/traces")))
    return Tracing(provider, provider.force_flush, provider.shutdown)
