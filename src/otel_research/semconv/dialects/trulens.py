"""TruLens: `ai.observability.span_type`; what judges are spans of their own (`eval_root`, `eval`)."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, CHAIN, EVALUATOR, RETRIEVAL, TOOL, Attributes, Dialect, words

ROLES = {
    "generation": CALL,
    "reranking": CALL,
    "retrieval": RETRIEVAL,
    "agent": AGENT,
    "tool": TOOL,
    "mcp": TOOL,
    "record_root": CHAIN,
    "nested_record_root": CHAIN,
    "workflow_step": CHAIN,
    "graph_task": CHAIN,
    "graph_node": CHAIN,
    "guardrail": CHAIN,
    "eval_root": EVALUATOR,
    "eval": EVALUATOR,
    "eval_decision": EVALUATOR,
}
OPERATIONS = {"generation": "chat", "reranking": "rerank"}
_COST = "ai.observability.cost."


def role(attributes: Attributes) -> pl.Expr:
    """By ai.observability.span_type."""
    return words(attributes.text("ai.observability.span_type").str.to_lowercase(), ROLES)


def operation(attributes: Attributes) -> pl.Expr:
    """By ai.observability.span_type."""
    return words(attributes.text("ai.observability.span_type").str.to_lowercase(), OPERATIONS)


DIALECT = Dialect(
    name="trulens",
    versions="trulens 2.16 (names read from the package; no capture)",
    role=role,
    operation=operation,
    evidence=("ai.observability.span_type",),
    aliases={
        "request_model": (_COST + "model", "ai.observability.reranking.model_name"),
        "input_tokens": (_COST + "num_prompt_tokens",),
        "output_tokens": (_COST + "num_completion_tokens",),
        "total_tokens": (_COST + "num_tokens",),
        "reasoning_tokens": (_COST + "num_reasoning_tokens",),
        "reported_cost_usd": (_COST + "cost",),
        "streaming": ("ai.observability.generation.is_streaming",),
        "ttft_ms": ("ai.observability.generation.time_to_first_token_ms",),
        "conversation_id": ("ai.observability.conversation_id",),
    },
    known=("ai.observability.",),
)
