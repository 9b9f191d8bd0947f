"""Write spans as OTLP JSON lines: what any OTLP backend, and `formats.otlp_read`, takes.

Reading the file back gives the same RAW columns. What OTLP has no place for (the monotonic
clock, the sample weight, "interrupted", values JSON cannot hold) travels in one attribute per
span, `otel_research.raw`, and only where reading would otherwise give something else.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import IO, Any

import msgspec
import polars as pl

from otel_research.errors import ResearchError
from otel_research.formats import flat, otlp_json
from otel_research.formats.otlp_rows import KINDS, SIDE, STATUSES, Origin, Row, span_row
from otel_research.spans import schema, values

_NAMES = schema.names(schema.RAW)
_PER_LINE = 1_000
_INT64 = range(-(2**63), 2**63)
_encode = msgspec.json.Encoder().encode


def write(spans: pl.LazyFrame | Iterable[pl.DataFrame], stream: IO[bytes]) -> int:
    """Write one export request per line, up to 1,000 spans each, in the order of the frame; returns the spans.

    `spans` has the RAW columns; others are left out, missing ones count as null.
    Raises `ResearchError` where a row has no valid trace or span id: OTLP cannot hold it.
    """
    frames = flat.batches(_raw_only(spans)) if isinstance(spans, pl.LazyFrame) else spans
    rows = (row for frame in frames for row in frame.iter_rows(named=True))
    count = 0
    while line := list(islice(rows, _PER_LINE)):
        stream.write(_encode(request(line)) + b"\n")
        count += len(line)
    return count


def request(rows: Iterable[Row]) -> dict[str, Any]:
    """The rows as one `ExportTraceServiceRequest` in OTLP JSON; neighbours of one origin share a group."""
    groups = []
    for (resource, scope, version), members in groupby(rows, key=_origin):
        about: dict[str, Any] = {"name": scope or ""}
        if version:
            about["version"] = version
        described = {"attributes": _pairs(_parsed(resource))}
        # As the reader will see it, which is not always the column's own text.
        origin = Origin(values.to_json(otlp_json.attributes(described)), scope or "", version or None)
        spans = [_span(row, origin) for row in members]
        groups.append({"resource": described, "scopeSpans": [{"scope": about, "spans": spans}]})
    return {"resourceSpans": groups}


def _raw_only(spans: pl.LazyFrame) -> pl.LazyFrame:
    present = spans.collect_schema()
    return spans.select([name for name in _NAMES if name in present])


def _origin(row: Row) -> tuple[Any, Any, Any]:
    return row.get("resource"), row.get("scope"), row.get("scope_version")


def _span(row: Row, origin: Origin) -> dict[str, Any]:
    """One span object; whatever the reader would not get back from it goes into the side attribute."""
    pairs = _pairs(_parsed(row.get("attributes")))
    status: dict[str, Any] = {"code": STATUSES.index(row["status"])} if row.get("status") in STATUSES else {}
    if row.get("status_message"):
        status["message"] = row["status_message"]
    member: dict[str, Any] = {
        "traceId": row.get("trace_id"),
        "spanId": row.get("span_id"),
        "name": row.get("name") or "",
        "kind": KINDS.index(row["kind"], 1) if row.get("kind") in KINDS else 0,
        "startTimeUnixNano": str(_count(row.get("start_ns"))),
        "endTimeUnixNano": str(_count(row.get("end_ns"))),
        "attributes": pairs,
        "events": list(_events(row.get("events"))),
        "links": list(_links(row.get("links"))),
        "status": status,
        "flags": int(row.get("is_sampled") or False),
    }
    if row.get("parent_span_id"):
        member["parentSpanId"] = row["parent_span_id"]
    for key, name in (("Attributes", "attributes"), ("Events", "events"), ("Links", "links")):
        if row.get(f"dropped_{name}"):
            member[f"dropped{key}Count"] = row[f"dropped_{name}"]
    try:
        read = span_row(otlp_json.span(member), origin)
    except ValueError as exc:
        raise ResearchError(f"span '{member['name'][:60]}' cannot be written as OTLP: {exc}.") from exc
    lost = {name: row[name] for name in _NAMES if name in row and row[name] != read.get(name)}
    if lost:
        pairs.append({"key": SIDE, "value": {"stringValue": _encode(lost).decode()}})
    return member


def _events(text: str | None) -> Iterator[dict[str, Any]]:
    for event in _parsed_list(text):
        yield {
            "name": str(event.get("name") or ""),
            "timeUnixNano": str(_count(event.get("time_ns"))),
            "attributes": _pairs(event.get("attributes")),
        }


def _links(text: str | None) -> Iterator[dict[str, Any]]:
    for link in _parsed_list(text):
        found: dict[str, Any] = {"traceId": link.get("trace_id"), "spanId": link.get("span_id"), "attributes": []}
        try:
            otlp_json.link(found)
        except ValueError:
            continue  # OTLP cannot hold a link without ids; the side attribute keeps the column
        yield found | {"attributes": _pairs(link.get("attributes"))}


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**63 else 0


def _parsed(text: str | None) -> dict[str, Any]:
    found = _decoded(text)
    return found if isinstance(found, dict) else {}


def _parsed_list(text: str | None) -> list[dict[str, Any]]:
    found = _decoded(text)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _decoded(text: str | None) -> Any:
    """A column's JSON text as Python values; text that is no JSON is kept by the side attribute alone."""
    if not text:
        return None
    try:
        return values.from_json(text) if '"$' in text else msgspec.json.decode(text)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _pairs(attributes: Any) -> list[dict[str, Any]]:
    if not isinstance(attributes, dict):
        return []
    return [{"key": _clean(key), "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    """A Python value as an `AnyValue`; what that cannot hold becomes text."""
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)} if value in _INT64 else {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _word(value)}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _pairs(value)}}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": _clean(str(value))}


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _clean(text: str) -> str:
    """Text that UTF-8 can hold: a lone surrogate is written as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()
