"""Pipecat: GenAI names on every service of a turn; the time to the first byte under a name of its own."""

from __future__ import annotations

from otel_research.semconv.dialect import Dialect

DIALECT = Dialect(
    name="pipecat",
    versions="pipecat (its tracing module of November 2026)",
    aliases={"ttft_s": ("metrics.ttfb",), "tool_name": ("tool.function_name",)},
    known=("metrics.", "settings.", "turn.", "conversation."),
)
