"""LiteLLM's own callbacks: values as text, cost beside the tokens, the raw request as a child span."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import HTTP, Attributes, Dialect

_USED = "metadata.usage_object~"
"""A dictionary as Python prints it; `~` looks a number up in it."""


def role(attributes: Attributes) -> pl.Expr:
    """The child `raw_gen_ai_request` repeats the provider's dictionaries; it is the transport, not a call."""
    return pl.when(pl.col("name") == "raw_gen_ai_request").then(pl.lit(HTTP))


DIALECT = Dialect(
    name="litellm",
    versions='litellm 1.106 callback "otel", LITELLM_OTEL_V2',
    role=role,
    evidence=("litellm.call_id", "litellm.provider.model", "litellm.cost.total", "litellm.request.streaming"),
    scopes=("litellm",),
    aliases={
        "cache_read_tokens": (_USED + "cache_read_input_tokens", _USED + "cached_tokens"),
        "cache_write_tokens": (_USED + "cache_creation_input_tokens",),
        "cache_write_1h_tokens": (_USED + "ephemeral_1h_input_tokens",),
        "reasoning_tokens": (_USED + "reasoning_tokens",),
        "service_tier": ("llm.openai.service_tier",),
        "reported_cost_usd": ("gen_ai.cost.total_cost", "litellm.cost.total", "response_cost"),
        "streaming": ("litellm.request.streaming",),
        "http_status": ("error.code",),
    },
    known=("litellm.", "gen_ai.cost.", "metadata.", "hidden_params", "llm.", "error."),
)
