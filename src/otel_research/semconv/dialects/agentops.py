"""AgentOps: `agentops.span.kind` beside GenAI names."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, CHAIN, TOOL, Attributes, Dialect, words

ROLES = {
    "llm": CALL,
    "agent": AGENT,
    "team": AGENT,
    "tool": TOOL,
    "workflow": CHAIN,
    "session": CHAIN,
    "task": CHAIN,
    "operation": CHAIN,
    "chain": CHAIN,
    "guardrail": CHAIN,
}


def role(attributes: Attributes) -> pl.Expr:
    """By agentops.span.kind."""
    return words(attributes.text("agentops.span.kind").str.to_lowercase(), ROLES)


DIALECT = Dialect(
    name="agentops",
    versions="agentops (a live session of its openai instrumentation; `nox -s vendors`)",
    role=role,
    evidence=("agentops.span.kind",),
    aliases={"agent_name": ("agent.name",), "tool_name": ("tool.name",)},
    known=("agentops.",),
)
