"""OpenLLMetry (Traceloop): `traceloop.*` on workflows and tools; older packages `llm.*` and prompt/completion tokens."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, CHAIN, TOOL, Attributes, Dialect, words

KINDS = {"workflow": CHAIN, "task": CHAIN, "agent": AGENT, "tool": TOOL, "unknown": CHAIN}
REQUESTS = {"chat": CALL, "completion": CALL, "embedding": CALL, "rerank": CALL, "unknown": CALL}
OPERATIONS = {"chat": "chat", "completion": "text_completion", "embedding": "embeddings", "rerank": "rerank"}


def role(attributes: Attributes) -> pl.Expr:
    """A span with traceloop.span.kind is never a call, whatever its operation; llm.request.type makes one."""
    kind = words(attributes.text("traceloop.span.kind").str.to_lowercase(), KINDS)
    return pl.coalesce(kind, words(attributes.text("llm.request.type").str.to_lowercase(), REQUESTS))


def operation(attributes: Attributes) -> pl.Expr:
    """By llm.request.type, which tells completions from chats."""
    return words(attributes.text("llm.request.type").str.to_lowercase(), OPERATIONS)


DIALECT = Dialect(
    name="traceloop",
    versions="opentelemetry-instrumentation-* of OpenLLMetry 0.62.4 (cohere, mistralai, ollama: older names), "
    "traceloop-sdk 0.62.4, @traceloop/instrumentation-openai 0.27",
    role=role,
    operation=operation,
    evidence=("traceloop.span.kind", "llm.request.type", "gen_ai.is_streaming", "traceloop.entity.name"),
    aliases={
        "total_tokens": ("llm.usage.total_tokens",),
        "cache_read_tokens": ("gen_ai.usage.cache_read_input_tokens", "llm.usage.cache_read_input_tokens"),
        "cache_write_tokens": ("llm.usage.cache_creation_input_tokens",),
        "reasoning_tokens": ("llm.usage.reasoning_tokens",),
        "input_tokens": ("llm.usage.prompt_tokens",),
        "output_tokens": ("llm.usage.completion_tokens",),
        "request_model": ("llm.request.model",),
        "response_model": ("llm.response.model",),
        "provider": ("llm.vendor", "traceloop.association.properties.ls_provider"),
        "streaming": ("gen_ai.is_streaming", "llm.is_streaming"),
        "finish_reason": ("llm.response.finish_reason", "llm.response.stop_reason"),
        "conversation_id": (
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.thread_id",
        ),
        "user_id": ("traceloop.association.properties.user_id", "llm.user"),
    },
    known=("traceloop.", "crewai.", "crew_", "llm."),
)
