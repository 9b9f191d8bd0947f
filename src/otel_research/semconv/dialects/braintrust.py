"""Braintrust: the kind, the model and the counts of a span as JSON text."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CALL, CHAIN, EVALUATOR, TOOL, Attributes, Dialect, words

ROLES = {
    "llm": CALL,
    "score": EVALUATOR,
    "scorer": EVALUATOR,
    "tool": TOOL,
    "function": CHAIN,
    "task": CHAIN,
    "eval": CHAIN,
    "chain": CHAIN,
}
_METRICS = ("braintrust.metrics#", "braintrust.metrics.")
_ABOUT = ("braintrust.metadata#", "braintrust.metadata.")


def role(attributes: Attributes) -> pl.Expr:
    """By the type in braintrust.span_attributes."""
    kind = attributes.text("braintrust.span_attributes#type", "braintrust.span_attributes.type")
    return words(kind.str.to_lowercase(), ROLES)


def _under(places: tuple[str, ...], *names: str) -> tuple[str, ...]:
    return tuple(place + name for name in names for place in places)


DIALECT = Dialect(
    name="braintrust",
    versions="Braintrust's OpenTelemetry SDKs (Java, Go, Ruby, .NET), from their tests; no capture",
    role=role,
    evidence=("braintrust.span_attributes", "braintrust.span_attributes.type", "braintrust.metrics"),
    aliases={
        "kind": ("braintrust.span_attributes#type", "braintrust.span_attributes.type"),
        "provider": _under(_ABOUT, "provider"),
        "request_model": _under(_ABOUT, "model", "request_model"),
        "input_tokens": _under(_METRICS, "prompt_tokens"),
        "output_tokens": _under(_METRICS, "completion_tokens"),
        "total_tokens": _under(_METRICS, "tokens", "total_tokens"),
        "cache_read_tokens": _under(_METRICS, "prompt_cached_tokens"),
        "cache_write_tokens": _under(_METRICS, "prompt_cache_creation_tokens"),
        "reasoning_tokens": _under(_METRICS, "completion_reasoning_tokens"),
        "audio_input_tokens": _under(_METRICS, "prompt_audio_tokens"),
        "audio_output_tokens": _under(_METRICS, "completion_audio_tokens"),
        "reported_cost_usd": _under(_METRICS, "estimated_cost"),
        "ttft_s": _under(_METRICS, "time_to_first_token"),
    },
    known=("braintrust.",),
)
