"""LlamaIndex's own spans: no attributes, all in events of the model, which are read as if they were attributes."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

from otel_research.semconv import event_usage
from otel_research.semconv.dialect import CALL, Attributes, Dialect

SCOPE = "llamaindex.opentelemetry.tracer"
_PREFIX = "llama_index."
_KINDS = {
    "LLMChatStartEvent": "chat",
    "LLMChatEndEvent": "chat",
    "LLMCompletionStartEvent": "text_completion",
    "LLMCompletionEndEvent": "text_completion",
    "EmbeddingStartEvent": "embeddings",
    "EmbeddingEndEvent": "embeddings",
}
_WANTED = ("model_dict.model_name", "response.raw.")
_USAGE = f"{_PREFIX}response.raw.usage."


def told(scope: pl.Series, attributes: pl.Series, events: pl.Series) -> pl.Series:
    """The attributes, with those that the rows of this scope have in their events instead."""
    if not (scope == SCOPE).any():
        return attributes
    places = ((scope == SCOPE) & events.str.contains("Event", literal=True)).fill_null(False).arg_true()
    return event_usage.merged(attributes, events, places, _of_event)


def _of_event(event: dict[str, Any]) -> dict[str, Any]:
    name, given = event.get("name"), event.get("attributes") or {}
    if name not in _KINDS:
        return {}
    kept = {f"{_PREFIX}{key}": value for key, value in given.items() if key.startswith(_WANTED) and value is not None}
    is_stream = {f"{_PREFIX}stream": True} if "stream" in str(given.get("span_id")).partition("-")[0] else {}
    return {f"{_PREFIX}operation": _KINDS[name], **is_stream, **_finished(given), **kept}


def _finished(given: dict[str, Any]) -> dict[str, Any]:
    """Why the first choice ended. Choices are JSON text, which a limit on attributes may have cut: then it is unknown."""
    try:
        listed = msgspec.json.decode(given.get("response.raw.choices") or "null")
    except (msgspec.DecodeError, TypeError):
        return {}
    first = listed[0] if isinstance(listed, list) and listed else None
    return {f"{_PREFIX}finish_reason": first.get("finish_reason")} if isinstance(first, dict) else {}


def role(attributes: Attributes) -> pl.Expr:
    """What has an event of a model is a call; the method around it, and all other steps, are not said to be anything."""
    return pl.when(attributes.text(f"{_PREFIX}operation").is_not_null()).then(pl.lit(CALL))


DIALECT = Dialect(
    name="llama_index",
    versions="llama-index-observability-otel 0.7 (llama-index-core 0.14)",
    role=role,
    scopes=(SCOPE,),
    aliases={
        "operation": (f"{_PREFIX}operation",),
        "request_model": (f"{_PREFIX}model_dict.model_name",),
        "response_model": (f"{_PREFIX}response.raw.model",),
        "response_id": (f"{_PREFIX}response.raw.id",),
        "finish_reason": (f"{_PREFIX}finish_reason", f"{_PREFIX}response.raw.stop_reason"),
        "streaming": (f"{_PREFIX}stream",),
        "service_tier": (f"{_PREFIX}response.raw.service_tier",),
        "input_tokens": (f"{_USAGE}prompt_tokens", f"{_USAGE}input_tokens"),
        "output_tokens": (f"{_USAGE}completion_tokens", f"{_USAGE}output_tokens"),
        "total_tokens": (f"{_USAGE}total_tokens",),
        "cache_read_tokens": (f"{_USAGE}prompt_tokens_details.cached_tokens", f"{_USAGE}cache_read_input_tokens"),
        "cache_write_tokens": (f"{_USAGE}cache_creation_input_tokens",),
        "reasoning_tokens": (f"{_USAGE}completion_tokens_details.reasoning_tokens",),
    },
    known=(_PREFIX,),
)
