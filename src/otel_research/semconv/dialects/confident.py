"""DeepEval (Confident AI): `confident.span.type`, counts as doubles."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, RETRIEVAL, TOOL, Attributes, Dialect, words

ROLES = {"llm": CALL, "agent": AGENT, "tool": TOOL, "retriever": RETRIEVAL}


def role(attributes: Attributes) -> pl.Expr:
    """By confident.span.type; "base" says nothing."""
    return words(attributes.text("confident.span.type").str.to_lowercase(), ROLES)


DIALECT = Dialect(
    name="confident",
    versions="deepeval 4.3 (names read from the package; no capture)",
    role=role,
    evidence=("confident.span.type",),
    aliases={
        "provider": ("confident.span.provider",),
        "request_model": ("confident.llm.model",),
        "input_tokens": ("confident.llm.input_token_count",),
        "output_tokens": ("confident.llm.output_token_count",),
        "agent_name": ("confident.agent.name",),
        "tool_name": ("confident.tool.name",),
        "conversation_id": ("confident.trace.thread_id",),
        "user_id": ("confident.trace.user_id",),
    },
    known=("confident.",),
)
