"""Langfuse SDK: one `langfuse.observation.type`, usage and cost as JSON text."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, CHAIN, EVALUATOR, RETRIEVAL, TOOL, Attributes, Dialect, words

ROLES = {
    "generation": CALL,
    "embedding": CALL,
    "agent": AGENT,
    "chain": CHAIN,
    "tool": TOOL,
    "retriever": RETRIEVAL,
    "evaluator": EVALUATOR,
    "guardrail": CHAIN,
}
OPERATIONS = {"generation": "chat", "embedding": "embeddings"}
_USAGE = "langfuse.observation.usage_details#"


def role(attributes: Attributes) -> pl.Expr:
    """By langfuse.observation.type; plain "span" and "event" say nothing."""
    return words(attributes.text("langfuse.observation.type").str.to_lowercase(), ROLES)


def operation(attributes: Attributes) -> pl.Expr:
    """An embedding says so; a generation is chat."""
    return words(attributes.text("langfuse.observation.type").str.to_lowercase(), OPERATIONS)


DIALECT = Dialect(
    name="langfuse",
    versions="langfuse 5.0 (openai drop-in: the provider's own dictionary; LangChain handler: disjoint buckets)",
    role=role,
    operation=operation,
    evidence=("langfuse.observation.type",),
    aliases={
        "provider": ("langfuse.observation.metadata.ls_provider",),
        "request_model": ("langfuse.observation.metadata.ls_model_name",),
        "response_model": ("langfuse.observation.model.name",),
        "input_tokens": (_USAGE + "input", _USAGE + "prompt_tokens", _USAGE + "input_tokens"),
        "output_tokens": (_USAGE + "output", _USAGE + "completion_tokens", _USAGE + "output_tokens"),
        "total_tokens": (_USAGE + "total", _USAGE + "total_tokens"),
        "cache_read_tokens": (
            _USAGE + "input_cache_read",
            _USAGE + "input_cached_tokens",
            _USAGE + "prompt_tokens_details.cached_tokens",
            _USAGE + "input_tokens_details.cached_tokens",
            _USAGE + "cache_read_input_tokens",
        ),
        "cache_write_tokens": (
            _USAGE + "input_cache_creation",
            _USAGE + "input_cache_write",
            _USAGE + "cache_creation_input_tokens",
        ),
        "reasoning_tokens": (
            _USAGE + "output_reasoning",
            _USAGE + "output_reasoning_tokens",
            _USAGE + "completion_tokens_details.reasoning_tokens",
            _USAGE + "output_tokens_details.reasoning_tokens",
        ),
        "cache_write_1h_tokens": (_USAGE + "cache_creation.ephemeral_1h_input_tokens",),
        "audio_input_tokens": (
            _USAGE + "input_audio",
            _USAGE + "input_audio_tokens",
            _USAGE + "prompt_tokens_details.audio_tokens",
        ),
        "audio_output_tokens": (
            _USAGE + "output_audio",
            _USAGE + "output_audio_tokens",
            _USAGE + "completion_tokens_details.audio_tokens",
        ),
        "image_input_tokens": (_USAGE + "input_image", _USAGE + "input_image_tokens"),
        "image_output_tokens": (_USAGE + "output_image", _USAGE + "output_image_tokens"),
        "service_tier": ("langfuse.observation.model.parameters#service_tier",),
        "reported_cost_usd": ("langfuse.observation.cost_details#total",),
        "first_token_at": ("langfuse.observation.completion_start_time",),
        "temperature": (
            "langfuse.observation.model.parameters#temperature",
            "langfuse.observation.metadata.ls_temperature",
        ),
        "request_seed": ("langfuse.observation.model.parameters#seed",),
        "conversation_id": ("langfuse.trace.metadata.session_id", "langfuse.observation.metadata.session_id"),
        "user_id": ("langfuse.trace.metadata.user_id", "langfuse.observation.metadata.user_id"),
        "error_level": ("langfuse.observation.level",),
        "error_message": ("langfuse.observation.status_message",),
    },
    quoted=(
        "langfuse.observation.metadata.ls_provider",
        "langfuse.observation.metadata.ls_model_name",
        "langfuse.observation.completion_start_time",
        "langfuse.trace.metadata.session_id",
        "langfuse.observation.metadata.session_id",
        "langfuse.trace.metadata.user_id",
        "langfuse.observation.metadata.user_id",
    ),
    known=("langfuse.",),
)
