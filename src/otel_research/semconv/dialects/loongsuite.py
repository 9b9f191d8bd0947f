"""LoongSuite (and Aliyun ARMS): `gen_ai.span.kind`, time to first token in integer nanoseconds."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, CHAIN, RETRIEVAL, TOOL, Attributes, Dialect, words

ROLES = {
    "LLM": CALL,
    "EMBEDDING": CALL,
    "RERANKER": CALL,
    "AGENT": AGENT,
    "CHAIN": CHAIN,
    "TASK": CHAIN,
    "STEP": CHAIN,
    "ENTRY": CHAIN,
    "TOOL": TOOL,
    "RETRIEVER": RETRIEVAL,
}


def role(attributes: Attributes) -> pl.Expr:
    """By gen_ai.span.kind."""
    return words(attributes.text("gen_ai.span.kind").str.to_uppercase(), ROLES)


DIALECT = Dialect(
    name="loongsuite",
    versions="loongsuite-instrumentation-litellm 0.9",
    role=role,
    evidence=("gen_ai.span.kind",),
    aliases={"ttft_ns": ("gen_ai.response.time_to_first_token",)},
)
