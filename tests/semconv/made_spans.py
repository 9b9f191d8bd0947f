"""Spans made by hand, normalised and marked."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from otel_research.semconv import normalise
from otel_research.semconv.calls import mark
from otel_research.spans import schema

START = 1_790_000_000_000_000_000
MS = 1_000_000
CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 40,
    "gen_ai.usage.output_tokens": 12,
}


def span(number: int, attributes: Any, **columns: Any) -> dict[str, Any]:
    """A span of 10 ms with these attributes (JSON text is taken as it is)."""
    return {
        "experiment_id": "e",
        "trace_id": "t",
        "span_id": f"s{number}",
        "name": "span",
        "kind": "client",
        "start_ns": START + number * 1000 * MS,
        "end_ns": START + number * 1000 * MS + 10 * MS,
        "status": "unset",
        "scope": "opentelemetry.instrumentation.genai.openai",
        "attributes": attributes if isinstance(attributes, str) or attributes is None else json.dumps(attributes),
        "events": "[]",
    } | columns


def marked(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    frame = pl.DataFrame(list(rows), schema=schema.polars_schema(schema.RAW))
    return mark(normalise(frame.lazy())).collect().to_dicts()


def one(attributes: Any, **columns: Any) -> dict[str, Any]:
    return marked(span(0, attributes, **columns))[0]
