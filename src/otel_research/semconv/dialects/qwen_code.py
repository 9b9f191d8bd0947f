"""Qwen Code: GenAI names, and a few plain words."""

from __future__ import annotations

from otel_research.semconv.dialect import Dialect

DIALECT = Dialect(
    name="qwen_code",
    versions="Qwen Code (its telemetry of 2026), read from its source",
    scopes=("qwen-code",),
    aliases={"reasoning_tokens": ("thoughts_token_count",)},
    known=("qwen-code.", "llm_request.", "duration_ms", "attempt", "prompt_id"),
)
