"""Judgeval: `judgment.span_kind`; the input beside the cache in disjoint counts."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, CHAIN, EVALUATOR, RETRIEVAL, TOOL, Attributes, Dialect, words

ROLES = {
    "llm": CALL,
    "tool": TOOL,
    "agent": AGENT,
    "chain": CHAIN,
    "retriever": RETRIEVAL,
    "judge": EVALUATOR,
    "scorer": EVALUATOR,
}


def role(attributes: Attributes) -> pl.Expr:
    """By judgment.span_kind; "span" says nothing."""
    return words(attributes.text("judgment.span_kind").str.to_lowercase(), ROLES)


DIALECT = Dialect(
    name="judgment",
    versions="judgeval 1.6 (names read from the package; no capture)",
    role=role,
    evidence=("judgment.span_kind",),
    aliases={
        "provider": ("judgment.llm.provider",),
        "request_model": ("judgment.llm.model",),
        "fresh_input_tokens": ("judgment.usage.non_cached_input_tokens",),
        "output_tokens": ("judgment.usage.output_tokens",),
        "cache_read_tokens": ("judgment.usage.cache_read_input_tokens",),
        "cache_write_tokens": ("judgment.usage.cache_creation_input_tokens",),
        "image_output_tokens": ("judgment.usage.output_image_tokens",),
        "reported_cost_usd": ("judgment.usage.total_cost_usd",),
        "conversation_id": ("judgment.session_id",),
        "user_id": ("judgment.customer_user_id", "judgment.customer_id"),
    },
    known=("judgment.",),
)
