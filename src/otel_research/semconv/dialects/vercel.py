"""Vercel AI SDK, its own spans: `ai.generateText` repeats what `ai.generateText.doGenerate` says per attempt."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CALL, CHAIN, TOOL, Attributes, Dialect

_PROVIDER = "ai.response.providerMetadata#"


def role(attributes: Attributes) -> pl.Expr:
    """The inner operations (doGenerate, doStream, doEmbed, doRerank) are the calls."""
    operation = attributes.text("ai.operationId")
    return (
        pl.when(operation.str.contains(r"\.do[A-Z]\w*$"))
        .then(pl.lit(CALL))
        .when(operation == "ai.toolCall")
        .then(pl.lit(TOOL))
        .when(operation.is_not_null())
        .then(pl.lit(CHAIN))
    )


def operation(attributes: Attributes) -> pl.Expr:
    """`ai.embed.doEmbed` is an embedding, `doRerank` a rerank, the rest chat."""
    inner = attributes.text("ai.operationId").str.extract(r"\.do([A-Z]\w*)$")
    table = {"Embed": "embeddings", "Rerank": "rerank"}
    return pl.when(inner.is_not_null()).then(inner.replace_strict(table, default="chat", return_dtype=pl.String))


DIALECT = Dialect(
    name="vercel",
    versions="ai 4 to 7 (JavaScript), legacy telemetry; @ai-sdk/otel writes genai",
    role=role,
    operation=operation,
    evidence=("ai.operationId",),
    aliases={
        "provider": ("ai.model.provider",),
        "request_model": ("ai.model.id",),
        "response_model": ("ai.response.model",),
        "input_tokens": ("ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"),
        "output_tokens": ("ai.usage.outputTokens", "ai.usage.completionTokens"),
        "total_tokens": ("ai.usage.totalTokens", _PROVIDER + "google.usageMetadata.totalTokenCount"),
        # Version 5 has Anthropic's input beside the cache, and most of the cache only in what the provider said.
        "fresh_input_tokens": (_PROVIDER + "anthropic.usage.input_tokens",),
        "cache_read_tokens": (
            "ai.usage.inputTokenDetails.cacheReadTokens",
            "ai.usage.cachedInputTokens",
            _PROVIDER + "anthropic.usage.cache_read_input_tokens",
            _PROVIDER + "anthropic.cacheReadInputTokens",
            _PROVIDER + "bedrock.usage.cacheReadInputTokens",
            _PROVIDER + "google.usageMetadata.cachedContentTokenCount",
            _PROVIDER + "openai.cachedPromptTokens",
        ),
        "cache_write_tokens": (
            "ai.usage.inputTokenDetails.cacheWriteTokens",
            _PROVIDER + "anthropic.usage.cache_creation_input_tokens",
            _PROVIDER + "anthropic.cacheCreationInputTokens",
            _PROVIDER + "bedrock.usage.cacheWriteInputTokens",
        ),
        "reasoning_tokens": (
            "ai.usage.outputTokenDetails.reasoningTokens",
            "ai.usage.reasoningTokens",
            _PROVIDER + "google.usageMetadata.thoughtsTokenCount",
            _PROVIDER + "openai.reasoningTokens",
        ),
        "cache_write_1h_tokens": (_PROVIDER + "anthropic.usage.cache_creation.ephemeral_1h_input_tokens",),
        "service_tier": (
            _PROVIDER + "openai.serviceTier",
            _PROVIDER + "anthropic.usage.service_tier",
            _PROVIDER + "azure.serviceTier",
        ),
        "finish_reason": ("ai.response.finishReason",),
        "ttft_ms": ("ai.response.msToFirstChunk",),
        "response_id": ("ai.response.id",),
        "temperature": ("ai.settings.temperature",),
        "request_seed": ("ai.settings.seed",),
        "tool_name": ("ai.toolCall.name",),
        "conversation_id": ("ai.telemetry.metadata.sessionId", "ai.telemetry.metadata.session_id"),
        "user_id": ("ai.telemetry.metadata.userId", "ai.telemetry.metadata.user_id"),
    },
    known=("ai.", "operation.name", "resource.name"),
)
