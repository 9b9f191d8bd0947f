"""LangWatch: `langwatch.span.type`."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import (
    AGENT,
    CALL,
    CHAIN,
    EVALUATOR,
    RETRIEVAL,
    TOOL,
    Attributes,
    Dialect,
    words,
)

ROLES = {
    "llm": CALL,
    "agent": AGENT,
    "chain": CHAIN,
    "workflow": CHAIN,
    "component": CHAIN,
    "module": CHAIN,
    "task": CHAIN,
    "tool": TOOL,
    "rag": RETRIEVAL,
    "evaluation": EVALUATOR,
    "guardrail": EVALUATOR,
}


def role(attributes: Attributes) -> pl.Expr:
    """By langwatch.span.type; "span" says nothing."""
    return words(attributes.text("langwatch.span.type").str.to_lowercase(), ROLES)


DIALECT = Dialect(
    name="langwatch",
    versions="langwatch 1.4",
    role=role,
    evidence=("langwatch.span.type",),
    aliases={"conversation_id": ("langwatch.thread.id",), "user_id": ("langwatch.user.id",)},
    known=("langwatch.",),
)
