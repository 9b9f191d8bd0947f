"""Spans in OTLP, made by hand, and a reader of bytes: what the OTLP tests share."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData

from otel_research.formats.otlp_read import Skipped, read_frames
from otel_research.spans import schema

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
START = 1_795_414_056_080_254_720


def read(content: bytes | str | Path, **more: Any) -> tuple[pl.DataFrame, list[Skipped]]:
    skipped: list[Skipped] = []
    source = (
        content if isinstance(content, Path) else io.BytesIO(content.encode() if isinstance(content, str) else content)
    )
    frames = list(read_frames(source, on_skip=skipped.append, **more))
    empty = pl.DataFrame(schema=schema.polars_schema(schema.RAW))
    return pl.concat([empty, *frames]), skipped


def span(**changes: Any) -> dict[str, Any]:
    whole = {
        "traceId": TRACE,
        "spanId": SPAN,
        "parentSpanId": PARENT,
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + 5),
        "attributes": [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": "40"}}],
    }
    return whole | changes


def document(*spans: Any, resource: list[Any] | None = None) -> dict[str, Any]:
    scope = {"scope": {"name": "instr", "version": "1.2"}, "spans": list(spans)}
    return {"resourceSpans": [{"resource": {"attributes": resource or []}, "scopeSpans": [scope]}]}


def line(*spans: Any) -> str:
    return json.dumps(document(*spans))


def proto(*names: str) -> TracesData:
    made = [
        Span(
            trace_id=bytes.fromhex(TRACE),
            span_id=(number + 1).to_bytes(8, "big"),
            name=name,
            kind=3,
            start_time_unix_nano=START,
        )
        for number, name in enumerate(names)
    ]
    return TracesData(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=made)])])
