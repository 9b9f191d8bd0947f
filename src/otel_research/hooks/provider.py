"""`opentelemetry_tracer_provider`: OTEL_PYTHON_TRACER_PROVIDER=research, which needs no `opentelemetry-instrument`."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider

from otel_research.capture.attach import unlimited
from otel_research.hooks.start import begin


def tracer_provider() -> TracerProvider:
    """A provider without limits whose spans are recorded; the first `get_tracer()` of the program makes it."""
    # Made global by who asked for it, not here: asking for the global one now would ask us again.
    made = TracerProvider(span_limits=unlimited())
    begin(provider=made)
    return made
