"""Genkit: `genkit:metadata:subtype` says what a span is; usage is inside the JSON of what it gave back."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CALL, CHAIN, RETRIEVAL, TOOL, Attributes, Dialect, words

ROLES = {
    "model": CALL,
    "background-model": CALL,
    "embedder": CALL,
    "reranker": CALL,
    "tool": TOOL,
    "tool.v2": TOOL,
    "retriever": RETRIEVAL,
    "flow": CHAIN,
    "prompt": CHAIN,
    "util": CHAIN,
    "flowStep": CHAIN,
}
OPERATIONS = {"model": "chat", "background-model": "chat", "embedder": "embeddings", "reranker": "rerank"}
_KIND = "genkit:metadata:subtype"
_USAGE = "genkit:output#usage."
_OPENAI, _GOOGLE = "genkit:output#raw.", "genkit:output#custom."
"""What the provider answered, in its own words."""


def role(attributes: Attributes) -> pl.Expr:
    """By the subtype of an action, else by the type; `generate` repeats what the model below it says."""
    return words(attributes.text(_KIND, "genkit:type"), ROLES)


def operation(attributes: Attributes) -> pl.Expr:
    """An embedder and a reranker say so; a model is chat."""
    return words(attributes.text(_KIND), OPERATIONS)


DIALECT = Dialect(
    name="genkit",
    versions="genkit 1.42 (JavaScript); Go, read from its source",
    role=role,
    operation=operation,
    evidence=("genkit:type", _KIND),
    aliases={
        "request_model": ("genkit:name",),
        "response_model": (_OPENAI + "model", _GOOGLE + "modelVersion"),
        "response_id": (_OPENAI + "id", _GOOGLE + "responseId"),
        "input_tokens": (_USAGE + "inputTokens",),
        "output_tokens": (_USAGE + "outputTokens",),
        "total_tokens": (_USAGE + "totalTokens",),
        "cache_read_tokens": (_USAGE + "cachedContentTokens", _OPENAI + "usage.prompt_tokens_details.cached_tokens"),
        "reasoning_tokens": (_USAGE + "thoughtsTokens", _OPENAI + "usage.completion_tokens_details.reasoning_tokens"),
        "finish_reason": ("genkit:output#finishReason",),
    },
    known=("genkit:",),
)
