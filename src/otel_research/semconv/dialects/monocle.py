"""Monocle (Okahu): `span.type` in its scope; a call's usage is on an event beside its content."""

from __future__ import annotations

from typing import Any

import polars as pl

from otel_research.semconv import event_usage
from otel_research.semconv.dialect import AGENT, CALL, CHAIN, RETRIEVAL, TOOL, Attributes, Dialect, words

SCOPE = "monocle_apptrace"
_USAGE = "monocle.metadata."
ROLES = {
    "inference": CALL,
    "embedding": CALL,
    "inference.framework": CHAIN,
    "retrieval": RETRIEVAL,
    "agentic.invocation": AGENT,
    "agentic.tool.invocation": TOOL,
    "workflow": CHAIN,
}


def told(scope: pl.Series, attributes: pl.Series, events: pl.Series) -> pl.Series:
    """The attributes, with what the rows of this scope have on their event "metadata"."""
    places = (scope == SCOPE).fill_null(False).arg_true()
    return attributes if places.is_empty() else event_usage.merged(attributes, events, places, _of_event)


def _of_event(event: dict[str, Any]) -> dict[str, Any]:
    given = event.get("attributes") or {} if event.get("name") == "metadata" else {}
    return {_USAGE + key: value for key, value in given.items()}


def role(attributes: Attributes) -> pl.Expr:
    """By span.type, which others use too."""
    return pl.when(pl.col("scope") == SCOPE).then(words(attributes.text("span.type"), ROLES))


def operation(attributes: Attributes) -> pl.Expr:
    """An embedding says so."""
    named = words(attributes.text("span.type"), {"inference": "chat", "embedding": "embeddings"})
    return pl.when(pl.col("scope") == SCOPE).then(named)


DIALECT = Dialect(
    name="monocle",
    versions="monocle_apptrace 0.7, read from its source",
    role=role,
    operation=operation,
    evidence=("monocle_apptrace.version",),
    scopes=(SCOPE,),
    aliases={
        "request_model": ("entity.2.name",),
        "input_tokens": (f"{_USAGE}prompt_tokens",),
        "output_tokens": (f"{_USAGE}completion_tokens",),
        "total_tokens": (f"{_USAGE}total_tokens",),
        "cache_read_tokens": (f"{_USAGE}cached_tokens",),
        "reasoning_tokens": (f"{_USAGE}reasoning_tokens",),
        "finish_reason": (f"{_USAGE}finish_reason",),
    },
    known=("monocle", "entity.", "span.", "span_source", "workflow."),
)
