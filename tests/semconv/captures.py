"""The captures as RAW frames, and the provider's truth about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from otel_research.semconv import Finding, findings, normalise
from otel_research.semconv.calls import mark
from otel_research.spans import schema

FOLDER = Path(__file__).parents[3] / "shared" / "fixtures" / "spans"
KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
STATUSES = {1: "ok", 2: "error"}
COUNTS = {
    "input_tokens": "input_tokens_total",
    "output_tokens": "output_tokens_total",
    "cache_read_tokens": "cached_input_tokens",
    "cache_write_tokens": "cache_creation_tokens",
    "reasoning_tokens": "reasoning_tokens",
}
"""Our column -> the truth's name for it."""


@cache
def truth() -> dict[str, Any]:
    return json.loads((FOLDER / "expected.json").read_text())["files"]


@cache
def recoverable() -> dict[str, Any]:
    return json.loads((FOLDER / "recoverable.json").read_text())


def names() -> list[str]:
    return sorted(path.name for path in (FOLDER / "otlp").glob("*.jsonl"))


@cache
def raw(name: str) -> pl.DataFrame:
    """RAW columns of one capture, in the order of the file."""
    rows = [row for line in (FOLDER / "otlp" / name).read_text().splitlines() for row in _rows(json.loads(line))]
    return pl.DataFrame(rows, schema=schema.polars_schema(schema.RAW))


def _rows(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource_spans in request["resourceSpans"]:
        resource = _attributes(resource_spans["resource"])
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                yield _row(span, scope_spans["scope"], resource)


def _row(span: dict[str, Any], scope: dict[str, Any], resource: dict[str, Any]) -> dict[str, Any]:
    status = span.get("status", {})
    events = [
        {"name": e["name"], "time_ns": int(e["timeUnixNano"]), "attributes": _attributes(e)}
        for e in span.get("events", [])
    ]
    return {
        "experiment_id": "e" * 32,
        "trace_id": span["traceId"],
        "span_id": span["spanId"],
        "parent_span_id": span.get("parentSpanId") or None,
        "name": span["name"],
        "kind": KINDS.get(span.get("kind", 1), "internal"),
        "start_ns": int(span["startTimeUnixNano"]),
        "end_ns": int(span["endTimeUnixNano"]),
        "status": STATUSES.get(status.get("code", 0), "unset"),
        "status_message": status.get("message"),
        "scope": scope.get("name"),
        "scope_version": scope.get("version"),
        "resource": _json(resource),
        "attributes": _json(_attributes(span)),
        "events": _json(events),
        "links": "[]",
        "dropped_attributes": span.get("droppedAttributesCount", 0),
        "dropped_events": span.get("droppedEventsCount", 0),
        "dropped_links": span.get("droppedLinksCount", 0),
    }


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value", {})) for pair in holder.get("attributes", [])}


def _value(value: dict[str, Any]) -> Any:
    for kind, inner in value.items():
        if kind == "intValue":
            return int(inner)
        if kind == "arrayValue":
            return [_value(item) for item in inner.get("values", [])]
        if kind == "kvlistValue":
            return {pair["key"]: _value(pair.get("value", {})) for pair in inner.get("values", [])}
        return inner
    return None


@cache
def marked(name: str) -> pl.DataFrame:
    """One capture with canonical columns and its calls marked."""
    return mark(normalise(raw(name).lazy())).collect(engine="streaming")


@cache
def found(name: str) -> tuple[Finding, ...]:
    """What the capture says about itself as a whole."""
    return tuple(findings(marked(name).lazy()))


class Pair(NamedTuple):
    """A call as the provider saw it, and the row that counts for it."""

    call: dict[str, Any]
    row: dict[str, Any]

    @property
    def flags(self) -> set[str]:
        return set((self.row["flags"] or "").split(",")) - {""}

    def __str__(self) -> str:
        return f"{self.call['case']}: {self.row['name']!r} with flags {sorted(self.flags)}"


def seen(name: str) -> list[dict[str, Any]]:
    """The provider's calls that a model-call span describes."""
    calls = truth()[name]["calls"]
    return [call for call in calls if (call.get("span") or {}).get("looks_like") in ("llm", "other")]


def rows_of(name: str, call: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that count among those that carry this call's numbers."""
    own = {other["span"]["span_id"] for other in seen(name)} - {call["span"]["span_id"]}
    ids = {call["span"]["span_id"], *(also["span_id"] for also in call.get("also_on") or [])} - own
    return [row for row in marked(name).to_dicts() if row["span_id"] in ids and row["is_call"]]


@cache
def pairs(name: str) -> tuple[Pair, ...]:
    """Every seen call with the one row that counts for it."""
    return tuple(Pair(call, row) for call in seen(name) for row in rows_of(name, call)[:1])
