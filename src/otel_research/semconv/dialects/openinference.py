"""OpenInference (Arize Phoenix): `llm.*`, `openinference.span.kind`. Failures are a status and an event, never error.type."""

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
    by_word,
    words,
)

ROLES = {
    "LLM": CALL,
    "EMBEDDING": CALL,
    "RERANKER": CALL,
    "DECISION": CALL,
    "AGENT": AGENT,
    "CHAIN": CHAIN,
    "GUARDRAIL": CHAIN,
    "PROMPT": CHAIN,
    "TOOL": TOOL,
    "RETRIEVER": RETRIEVAL,
    "EVALUATOR": EVALUATOR,
}
CLIENTS = (
    r"^openinference\.instrumentation\.(openai|anthropic|bedrock|google_genai|groq|mistralai|together|vertexai|ollama)$"
)
"""Scopes that write nothing but requests."""
BEEAI = "openinference.instrumentation.beeai"
"""A scope that writes a call's events as spans of no duration that say they are calls too."""
_SAYS = r'("openinference\.span\.kind"\s*:\s*)"LLM"'
OPERATIONS = {"LLM": "chat", "EMBEDDING": "embeddings", "RERANKER": "rerank", "DECISION": "chat"}


def told(rows: pl.DataFrame, attributes: pl.Series) -> pl.Series:
    """The attributes, with those of mere events saying that they are steps: they name no model and count nothing."""
    is_its = (rows["scope"] == BEEAI).fill_null(False)
    if not is_its.any():
        return attributes
    is_event = (rows["start_ns"] == rows["end_ns"]) & ~attributes.str.contains_any(["model_name", "token_count"])
    places = (is_its & is_event).fill_null(False).arg_true()
    return attributes.clone().scatter(places, attributes.gather(places).str.replace(_SAYS, '${1}"CHAIN"'))


def role(attributes: Attributes) -> pl.Expr:
    """By openinference.span.kind; a step of a client before the call (`OpenAI._prepare_chat`) is no call.

    A processor of another package that knows no better calls everything a chain, what clients and embedders write too.
    """
    kind = words(attributes.text("openinference.span.kind").str.to_uppercase(), ROLES)
    before = pl.col("name").str.contains("._prepare", literal=True)
    of_client = by_word(pl.col("scope"), lambda scope: scope.str.extract(CLIENTS)).is_not_null()
    is_call = (kind == CHAIN) & (
        of_client | (attributes.text("gen_ai.operation.name") == "embeddings").fill_null(False)
    )
    return pl.when(before & (kind == CALL)).then(pl.lit(CHAIN)).when(is_call).then(pl.lit(CALL)).otherwise(kind)


def operation(attributes: Attributes) -> pl.Expr:
    """By openinference.span.kind; a prompt without messages is a text completion."""
    kind = words(attributes.text("openinference.span.kind").str.to_uppercase(), OPERATIONS)
    legacy = attributes.text("llm.prompts.0.prompt.text").is_not_null() & (pl.col("name") == "Completion")
    return pl.when(legacy).then(pl.lit("text_completion")).otherwise(kind)


DIALECT = Dialect(
    name="openinference",
    versions="openinference-instrumentation-* (openai 0.1.66, anthropic 3.1.0, bedrock 0.1.61, langchain 0.1.80, "
    "llama-index 4.6.1, haystack 0.1.46, smolagents 0.1.43, pydantic-ai 0.1.30, litellm 0.1.51, dspy 0.1.48), "
    "@arizeai/openinference-instrumentation-openai 4.2.7",
    role=role,
    operation=operation,
    evidence=("openinference.span.kind",),
    aliases={
        "provider": ("llm.provider", "llm.system", "decision.provider", "decision.system"),
        "request_model": (
            "llm.request.model_name",
            "llm.invocation_parameters#model",
            "llm.invocation_parameters#model_name",
            "llm.invocation_parameters#model_id",
            "llm.invocation_parameters#modelId",
            "embedding.invocation_parameters#model",
            "embedding.model_name",
            "reranker.model_name",
            "decision.request.model_name",
        ),
        "response_model": (
            "llm.response.model_name",
            "llm.model_name",
            "decision.response.model_name",
            "decision.model_name",
        ),
        "input_tokens": ("llm.token_count.prompt", "decision.token_count.input"),
        "output_tokens": ("llm.token_count.completion", "decision.token_count.output"),
        "total_tokens": ("llm.token_count.total",),
        "cache_read_tokens": (
            "llm.token_count.prompt_details.cache_read",
            "llm.token_count.prompt_details.cache_input",
        ),
        "cache_write_tokens": ("llm.token_count.prompt_details.cache_write",),
        "reasoning_tokens": ("llm.token_count.completion_details.reasoning",),
        "audio_input_tokens": ("llm.token_count.prompt_details.audio",),
        "audio_output_tokens": ("llm.token_count.completion_details.audio",),
        "image_input_tokens": ("llm.token_count.prompt_details.image",),
        "image_output_tokens": ("llm.token_count.completion_details.image",),
        "service_tier": ("llm.invocation_parameters#service_tier",),
        "reported_cost_usd": ("llm.cost.total",),
        "finish_reason": ("llm.finish_reason",),
        "streaming": ("llm.invocation_parameters#stream",),
        "temperature": ("llm.invocation_parameters#temperature",),
        "request_seed": ("llm.invocation_parameters#seed",),
        "inner_tool": ("message.tool_calls.0.tool_call.function.name",),
        "tool_name": ("tool.name",),
        "agent_name": ("agent.name",),
        "conversation_id": ("session.id", "metadata#session_id"),
        "user_id": ("user.id", "metadata#user_id"),
    },
    known=(
        "openinference.",
        "llm.",
        "input.",
        "output.",
        "embedding.",
        "retrieval.",
        "reranker.",
        "tool.",
        "tool_call.",
        "graph.node.",
        "metadata",
        "tag.tags",
        "exception.",
        "message.",
        "document.",
        "decision.",
        "annotations.",
        "evaluations.",
        "prompt.",
    ),
)
