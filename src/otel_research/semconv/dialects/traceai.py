"""traceAI (Future AGI): OpenInference's kinds and keys under `gen_ai.*`; `gen_ai.request.model` is the answering model."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import Attributes, Dialect, words
from otel_research.semconv.dialects import openinference


def role(attributes: Attributes) -> pl.Expr:
    """By its span kind, in rows that it wrote: others give `gen_ai.span.kind` words of their own."""
    kind = attributes.text("fi.span.kind", "gen_ai.span.kind").str.to_uppercase()
    is_its = pl.col("scope").str.starts_with("traceai_") | attributes.text("fi.span.kind").is_not_null()
    return pl.when(is_its).then(words(kind, openinference.ROLES))


DIALECT = Dialect(
    name="traceai",
    versions="traceai-openai 0.1.10 (fi-instrumentation-otel 1.1.0)",
    role=role,
    evidence=("fi.span.kind", "gen_ai.request.parameters"),
    scopes=("traceai_",),
    aliases={
        "request_model": ("gen_ai.request.parameters#model", "gen_ai.reranker.model"),
        "streaming": ("gen_ai.request.parameters#stream",),
        "temperature": ("gen_ai.request.parameters#temperature",),
        "request_seed": ("gen_ai.request.parameters#seed",),
        "cache_read_tokens": (
            "gen_ai.usage.cache_read_tokens",
            "gen_ai.usage.input_tokens.cache_read",
            "gen_ai.usage.input_tokens.cache_input",
        ),
        "cache_write_tokens": ("gen_ai.usage.cache_write_tokens", "gen_ai.usage.input_tokens.cache_write"),
        "reasoning_tokens": ("gen_ai.usage.output_tokens.reasoning",),
        "audio_input_tokens": ("gen_ai.usage.input_tokens.audio",),
        "audio_output_tokens": ("gen_ai.usage.output_tokens.audio",),
        "reported_cost_usd": ("gen_ai.cost.total",),
    },
    known=(
        "fi.",
        "gen_ai.input.messages.",
        "gen_ai.output.messages.",
        "gen_ai.guardrail.",
        "gen_ai.request.parameters",
    ),
)
