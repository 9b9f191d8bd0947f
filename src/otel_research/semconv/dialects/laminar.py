"""Laminar: `lmnr.span.type`; tokens under GenAI names with underscores."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CALL, CHAIN, EVALUATOR, TOOL, Attributes, Dialect, words

ROLES = {
    "LLM": CALL,
    "CACHED": CALL,
    "TOOL": TOOL,
    "EVALUATION": EVALUATOR,
    "EVALUATOR": EVALUATOR,
    "HUMAN_EVALUATOR": EVALUATOR,
    "EXECUTOR": CHAIN,
    "PIPELINE": CHAIN,
}


def role(attributes: Attributes) -> pl.Expr:
    """By lmnr.span.type; DEFAULT says nothing."""
    return words(attributes.text("lmnr.span.type").str.to_uppercase(), ROLES)


DIALECT = Dialect(
    name="laminar",
    versions="lmnr 0.8",
    role=role,
    evidence=("lmnr.span.type",),
    scopes=("lmnr.",),
    aliases={
        "conversation_id": ("lmnr.association.properties.session_id",),
        "user_id": ("lmnr.association.properties.user_id",),
        "reported_cost_usd": ("gen_ai.usage.cost",),
    },
    known=("lmnr.",),
)
