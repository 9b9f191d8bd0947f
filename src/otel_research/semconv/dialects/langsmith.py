"""LangSmith in OpenTelemetry mode: `langsmith.span.kind` decides (prompts and chains also say gen_ai chat)."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CALL, CHAIN, RETRIEVAL, TOOL, Attributes, Dialect, words

ROLES = {
    "llm": CALL,
    "embedding": CALL,
    "chain": CHAIN,
    "prompt": CHAIN,
    "parser": CHAIN,
    "tool": TOOL,
    "retriever": RETRIEVAL,
}
_USAGE = "langsmith.metadata.usage_metadata#"
_IN_JS = "langsmith.usage_metadata#"
_DETAILS = "gen_ai.usage.{}_token_details#"


def _written(since: str) -> tuple[str, ...]:
    """Where a cache's writes are told by how long it lasts."""
    begins = (_USAGE + "input_token_details.", _IN_JS + "input_token_details.", _DETAILS.format("input"))
    return tuple(f"{begin}ephemeral_{since}_input_tokens" for begin in begins)


def role(attributes: Attributes) -> pl.Expr:
    """By langsmith.span.kind."""
    return words(attributes.text("langsmith.span.kind").str.to_lowercase(), ROLES)


DIALECT = Dialect(
    name="langsmith",
    versions="langsmith 0.15, LANGSMITH_OTEL_ENABLED; langsmith 0.12 (JavaScript)",
    role=role,
    evidence=("langsmith.span.kind",),
    aliases={
        "provider": ("langsmith.metadata.ls_provider",),
        "request_model": ("langsmith.metadata.ls_model_name",),
        "input_tokens": (_USAGE + "input_tokens",),
        "output_tokens": (_USAGE + "output_tokens",),
        "total_tokens": (_USAGE + "total_tokens",),
        "cache_read_tokens": (
            _USAGE + "input_token_details.cache_read",
            _IN_JS + "input_token_details.cache_read",
            _DETAILS.format("input") + "cache_read",
        ),
        "cache_write_tokens": (
            _USAGE + "input_token_details.cache_creation",
            _IN_JS + "input_token_details.cache_creation",
            _DETAILS.format("input") + "cache_creation",
        ),
        "reasoning_tokens": (
            _USAGE + "output_token_details.reasoning",
            _IN_JS + "output_token_details.reasoning",
            _DETAILS.format("output") + "reasoning",
        ),
        "cache_write_5m_tokens": _written("5m"),
        "cache_write_1h_tokens": _written("1h"),
        "audio_input_tokens": (_USAGE + "input_token_details.audio",),
        "audio_output_tokens": (_USAGE + "output_token_details.audio",),
        "image_input_tokens": (_USAGE + "input_token_details.image",),
        "image_output_tokens": (_USAGE + "output_token_details.image",),
        "service_tier": ("langsmith.metadata.ls_service_tier",),
        "reported_cost_usd": (_USAGE + "total_cost",),
        "temperature": ("langsmith.metadata.ls_temperature",),
        "conversation_id": ("langsmith.metadata.session_id", "langsmith.metadata.thread_id"),
        "user_id": ("langsmith.metadata.user_id",),
    },
    known=("langsmith.",),
)
