"""Spring AI: GenAI names on the model's calls; `spring.ai.kind` on what is around them."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CHAIN, RETRIEVAL, TOOL, Attributes, Dialect, words

ROLES = {"chat_client": CHAIN, "advisor": CHAIN, "tool_call": TOOL, "vector_store": RETRIEVAL}


def role(attributes: Attributes) -> pl.Expr:
    """By spring.ai.kind, which calls lack."""
    return words(attributes.text("spring.ai.kind").str.to_lowercase(), ROLES)


DIALECT = Dialect(
    name="spring_ai",
    versions="Spring AI 1 (Java), read from its source",
    role=role,
    evidence=("spring.ai.kind",),
    aliases={
        "tool_name": ("spring.ai.tool.definition.name",),
        "conversation_id": ("spring.ai.chat.client.conversation.id",),
    },
    known=("spring.ai.", "db."),
)
