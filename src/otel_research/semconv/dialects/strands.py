"""Strands Agents: old and new token names together, `gen_ai.server.time_to_first_token` in integer milliseconds."""

from __future__ import annotations

from otel_research.semconv.dialect import Dialect

DIALECT = Dialect(
    name="strands",
    versions="strands-agents 1.62",
    evidence=("event_loop.cycle_id",),
    scopes=("strands.",),
    aliases={"ttft_typed": ("gen_ai.server.time_to_first_token",)},
    known=("event_loop.",),
)
