"""Haystack's own tracer: usage only inside `haystack.component.output`, and only with content tracing on."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, CHAIN, RETRIEVAL, TOOL, Attributes, Dialect

_OUTPUTS = ("haystack.component.output#", "haystack.agent.step.llm.output#")
_REPLY = "replies.0.meta."


def role(attributes: Attributes) -> pl.Expr:
    """Generators, embedders and rankers are calls; so is the model step of an agent."""
    kind = attributes.text("haystack.component.type")
    name = pl.col("name")
    return (
        pl.when(kind.str.contains(r"(Generator|Embedder|Ranker)$"))
        .then(pl.lit(CALL))
        .when(kind.str.contains(r"Retriever$"))
        .then(pl.lit(RETRIEVAL))
        .when(name == "haystack.agent.step.llm")
        .then(pl.lit(CALL))
        .when(name == "haystack.agent.step.tool")
        .then(pl.lit(TOOL))
        .when(name == "haystack.agent.run")
        .then(pl.lit(AGENT))
        .when(kind.is_not_null() | name.str.starts_with("haystack."))
        .then(pl.lit(CHAIN))
    )


def operation(attributes: Attributes) -> pl.Expr:
    """By the component's type."""
    kind = attributes.text("haystack.component.type")
    return (
        pl.when(kind.str.ends_with("Embedder"))
        .then(pl.lit("embeddings"))
        .when(kind.str.ends_with("Ranker"))
        .then(pl.lit("rerank"))
    )


def _in_outputs(*paths: str) -> tuple[str, ...]:
    return tuple(output + path for output in _OUTPUTS for path in paths)


DIALECT = Dialect(
    name="haystack",
    versions="haystack-ai 2 (own tracer)",
    role=role,
    operation=operation,
    evidence=(
        "haystack.component.type",
        "haystack.agent.step",
        "haystack.agent.max_steps",
        "haystack.agent.step.llm.output",
    ),
    scopes=("haystack",),
    aliases={
        "response_model": _in_outputs(_REPLY + "model", "meta.model"),
        "finish_reason": _in_outputs(_REPLY + "finish_reason"),
        "input_tokens": _in_outputs(
            _REPLY + "usage.prompt_tokens", _REPLY + "usage.input_tokens", "meta.usage.prompt_tokens"
        ),
        "output_tokens": _in_outputs(_REPLY + "usage.completion_tokens", _REPLY + "usage.output_tokens"),
        "total_tokens": _in_outputs(_REPLY + "usage.total_tokens", "meta.usage.total_tokens"),
        "cache_read_tokens": _in_outputs(
            _REPLY + "usage.prompt_tokens_details.cached_tokens", _REPLY + "usage.cache_read_input_tokens"
        ),
        "cache_write_tokens": _in_outputs(_REPLY + "usage.cache_creation_input_tokens"),
        "reasoning_tokens": _in_outputs(_REPLY + "usage.completion_tokens_details.reasoning_tokens"),
        "tool_name": ("haystack.tool.name",),
    },
    known=("haystack.",),
)
