"""Phoenix spans: `get_spans()` as JSON, and `get_spans_dataframe()` as JSON Lines or Parquet.

A span is a flat object: `context.trace_id`, `parent_id`, `start_time`, `attributes.<key>`; the
REST client nests `context` and `attributes`. Phoenix keeps neither the scope nor the resource.
Its data frame turns dotted keys into nested objects and whole numbers with gaps into floats;
both are undone here, so that the attributes read as they were emitted.
Checked against Phoenix 20.26 and its client 3.5.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from typing import Any

import polars as pl

from otel_research.formats.otlp_json import read_id
from otel_research.formats.otlp_rows import Moment, Origin, Row, Span, span_row
from otel_research.formats.stamps import nanoseconds_of

_STATUS = {"OK": 1, "ERROR": 2}
_ORIGIN = Origin("{}", "", None)
_PREFIX = "attributes."
# Attributes that OpenInference writes as JSON text, and that Phoenix parses.
_JSON_TEXT = ("metadata", "llm.prompt_template.variables", "tool.parameters", "llm.invocation_parameters")
_COUNTS = ("llm.token_count.",)


def is_document(document: Any) -> bool:
    """Is this a span, a list of spans or a page of spans?"""
    if isinstance(document, list):
        return bool(document) and _is_span(document[0])
    if not isinstance(document, dict):
        return False
    return _is_span(document) or (isinstance(document.get("data"), list) and is_document(document["data"]))


def _is_span(document: Any) -> bool:
    if not isinstance(document, dict) or "start_time" not in document:
        return False
    return "context.trace_id" in document or ("span_kind" in document and isinstance(document.get("context"), dict))


def rows(document: Any) -> Iterator[Row | str]:
    """The rows of every span of a document; text says what could not be read."""
    spans = document if isinstance(document, list) else document.get("data", [document])
    for span in spans:
        try:
            yield span_row(_span(span), _ORIGIN)
        except (ValueError, TypeError, AttributeError) as exc:
            name = span.get("name") if isinstance(span, dict) else "?"
            yield f"Phoenix span '{name}' cannot be read: {exc}"


def parquet_rows(content: bytes) -> Iterator[Row | str]:
    """The rows of a Parquet file that holds a data frame of spans."""
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as exc:
        yield f"the Parquet file cannot be read: {exc}"
        return
    if "context.trace_id" not in frame.columns:
        yield f"the Parquet file holds no Phoenix spans: there is no column 'context.trace_id' among {frame.columns[:5]}"
        return
    times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    frame = frame.with_columns(pl.col(times).dt.epoch("ns"))
    for batch in frame.iter_slices(1_000):
        yield from rows(batch.to_dicts())


def _span(span: dict[str, Any]) -> Span:
    context = span.get("context") or {}
    message = span.get("status_message")
    parent = _present(span.get("parent_id"))
    return Span(
        trace_id=read_id(span.get("context.trace_id") or context.get("trace_id"), 16),
        span_id=read_id(span.get("context.span_id") or context.get("span_id"), 8),
        parent_span_id=read_id(parent, 8) if parent else None,
        name=str(span.get("name") or ""),
        kind=1,
        start_ns=nanoseconds_of(_present(span.get("start_time"))),
        end_ns=nanoseconds_of(_present(span.get("end_time"))),
        attributes=_attributes(span),
        events=[_event(event) for event in _list(span.get("events"))],
        links=[],
        status=_STATUS.get(str(span.get("status_code") or ""), 0),
        status_message=message or None,
        flags=0,
        dropped=(0, 0, 0),
    )


def _attributes(span: dict[str, Any]) -> dict[str, Any]:
    nested = span.get("attributes")
    found = dict(nested) if isinstance(nested, dict) else {}
    found |= {key.removeprefix(_PREFIX): value for key, value in span.items() if key.startswith(_PREFIX)}
    flat: dict[str, Any] = {}
    for key, value in found.items():
        _flatten(key, value, flat)
    kind = span.get("span_kind")
    if kind and kind != "UNKNOWN":
        flat.setdefault("openinference.span.kind", kind)
    return flat


def _flatten(key: str, value: Any, flat: dict[str, Any]) -> None:
    """Nested objects back to dotted keys, lists of objects to numbered ones; what is missing is left out."""
    value = _present(value)
    if value is None:
        return
    if isinstance(value, dict):
        if key in _JSON_TEXT:
            flat[key] = json.dumps(_without_gaps(value), ensure_ascii=False)
            return
        for name, inner in value.items():
            _flatten(f"{key}.{name}", inner, flat)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            _flatten(f"{key}.{number}", item, flat)
    elif isinstance(value, float) and value.is_integer() and key.startswith(_COUNTS):
        flat[key] = int(value)
    else:
        flat[key] = value


def _without_gaps(value: Any) -> Any:
    """Parquet gives every object all the keys that any of them has."""
    if isinstance(value, dict):
        return {key: _without_gaps(inner) for key, inner in value.items() if inner is not None}
    return value


def _present(value: Any) -> Any:
    """The value, or None where a data frame has a gap."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _event(event: dict[str, Any]) -> Moment:
    attributes: dict[str, Any] = {}
    for key, value in (event.get("attributes") or {}).items():
        _flatten(key, value, attributes)
    time = event.get("timestamp")
    return Moment(str(event.get("name") or ""), nanoseconds_of(_time(time)), attributes)


def _time(value: Any) -> Any:
    return nanoseconds_of(value.isoformat()) if hasattr(value, "isoformat") else _present(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
