"""A program that has its own OpenTelemetry set-up and samples 10 %: everything is captured, nothing else changes.

The provider, its sampler and its exporter stay as they are. Inside an experiment the spans that the
sampler would drop are recorded (RECORD_ONLY): captured here, exported nowhere.
"""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

import otel_research as otr

backend = InMemorySpanExporter()  # stands for your OTLP exporter
provider = TracerProvider(sampler=TraceIdRatioBased(0.1))
provider.add_span_processor(SimpleSpanProcessor(backend))
tracer = provider.get_tracer("my-app")

recorder = otr.configure(provider=provider)
with otr.experiment("all-of-it") as exp:
    for number in range(1000):
        with tracer.start_as_current_span("work", attributes={"number": number}):
            pass
recorder.flush()

captured = exp.spans().collect()
sampled = captured["is_sampled"].sum()
print(f"captured {captured.height} spans; the backend got {len(backend.get_finished_spans())}, as its sampler decided")
assert captured.height == 1000
assert len(backend.get_finished_spans()) == sampled < 1000
recorder.close()
