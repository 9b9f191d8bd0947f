"""What an OTLP span or log record says, as rows with the RAW columns of `spans.schema`.

`otlp_json` and `otlp_proto` read the two encodings into the same small values; this file turns
those into rows, so that both encodings of a span give the same row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import polars as pl

from otel_research.spans import schema, values
from otel_research.spans.batch import from_rows

KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
"""OTLP's span kinds by number; 0 is "unspecified"."""
STATUSES = ("unset", "ok", "error")
SIDE = "otel_research.raw"
"""Attribute with which `formats.otlp` keeps the RAW columns that OTLP has no place for; never left on a row."""
EVALUATION = "gen_ai.evaluation.result"
SCORE_SCOPE = "otel_research"

_TYPES = schema.polars_schema(schema.RAW)
_FACTOR = "experiment.factor."
_INT64 = range(-(2**63), 2**63)


class Origin(NamedTuple):
    """What the spans of one group share: resource (JSON text) and instrumentation scope."""

    resource: str
    scope: str
    scope_version: str | None


class Moment(NamedTuple):
    """One event of a span."""

    name: str
    time_ns: int | None
    attributes: dict[str, Any]


class Link(NamedTuple):
    """One link of a span, ids in hex."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


class Span(NamedTuple):
    """One span as OTLP carries it: ids in hex, numbers checked, attributes as Python values."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: int
    start_ns: int | None
    end_ns: int | None
    attributes: dict[str, Any]
    events: list[Moment]
    links: list[Link]
    status: int
    status_message: str | None
    flags: int
    dropped: tuple[int, int, int]


class Log(NamedTuple):
    """One log record: which event it is, when, where it belongs and what it says."""

    event: str
    trace_id: str | None
    span_id: str | None
    time_ns: int | None
    attributes: dict[str, Any]


Row = dict[str, Any]


def frame(rows: list[Row]) -> pl.DataFrame:
    """The rows as a frame with exactly the RAW columns, in their order."""
    return from_rows(rows)


def span_row(span: Span, origin: Origin) -> Row:
    """The row of a span. Experiment fields come from its `experiment.*` attributes, where it has them."""
    attributes = span.attributes
    side = attributes.pop(SIDE, None)
    row: Row = {
        **experiment_columns(attributes),
        "sample_weight": 1.0,
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "name": span.name,
        "kind": KINDS[span.kind],
        "start_ns": span.start_ns,
        "end_ns": span.end_ns,
        "status": STATUSES[span.status],
        "status_message": span.status_message,
        "scope": origin.scope,
        "scope_version": origin.scope_version,
        "resource": origin.resource,
        # Exporters that predate the flags send none: not set says nothing about sampling.
        "is_sampled": True if span.flags & 1 else None,
        "attributes": values.to_json(attributes),
        "events": values.to_json([moment._asdict() for moment in span.events]) if span.events else None,
        "links": values.to_json([link._asdict() for link in span.links]) if span.links else None,
        "dropped_attributes": span.dropped[0],
        "dropped_events": span.dropped[1],
        "dropped_links": span.dropped[2],
    }
    if isinstance(side, str):
        row.update(_kept_aside(side))
    return row


def score_row(log: Log, origin: Origin) -> Row:
    """An evaluation result that was logged, as a score row below the span it is about.

    Its span id is a digest of what it says, so that importing it again gives the same row.
    """
    attributes = {**log.attributes, "experiment.row": "score"}
    text = values.to_json(attributes)
    digest = blake2b(f"{log.trace_id}/{log.span_id}/{log.time_ns}/{text}".encode(), digest_size=24).hexdigest()
    return {
        **experiment_columns(attributes),
        "sample_weight": 1.0,
        "trace_id": log.trace_id or digest[16:],
        "span_id": digest[:16],
        "parent_span_id": log.span_id,
        "name": EVALUATION,
        "kind": "internal",
        "start_ns": log.time_ns,
        "end_ns": log.time_ns,
        "status": "unset",
        "scope": SCORE_SCOPE,
        "resource": origin.resource,
        "attributes": text,
        "dropped_attributes": 0,
        "dropped_events": 0,
        "dropped_links": 0,
    }


def verdict(name: str, value: Any, explanation: Any) -> dict[str, Any]:
    """A verdict in the words of `gen_ai.evaluation.result`: numbers are values, everything else is a label."""
    said: dict[str, Any] = {"gen_ai.evaluation.name": name}
    if isinstance(value, bool):
        said["gen_ai.evaluation.score.value"] = float(value)
        said["gen_ai.evaluation.score.label"] = "true" if value else "false"
    elif isinstance(value, int | float):
        said["gen_ai.evaluation.score.value"] = float(value)
    elif value is not None:
        said["gen_ai.evaluation.score.label"] = value if isinstance(value, str) else json.dumps(value)
    if isinstance(explanation, str) and explanation:
        said["gen_ai.evaluation.explanation"] = explanation
    return said


def hex_id(digits: str, size: int) -> str:
    """An id as lower-case hex digits; raises ValueError where it is no id of that many bytes, or all zero."""
    lowered = digits.lower()
    if len(lowered) != 2 * size or lowered.strip("0123456789abcdef"):
        raise ValueError(f"'{digits[:40]}' is no id of {size} bytes")
    if not lowered.strip("0"):
        raise ValueError("the id is all zeros")
    return lowered


def nanoseconds(value: int) -> int | None:
    """A time in OTLP, where 0 means that there is none; raises ValueError beyond 64 bits."""
    if value not in _INT64 or value < 0:
        raise ValueError(f"{value} is no time in nanoseconds")
    return value or None


def experiment_columns(attributes: Mapping[str, Any]) -> Row:
    """The experiment columns, from the tags a span carries."""
    experiment = attributes.get("experiment.id")
    if experiment is None:
        return {}
    factors = {key[len(_FACTOR) :]: level for key, level in attributes.items() if key.startswith(_FACTOR)}
    repetition = attributes.get("experiment.repetition")
    return {
        "experiment_id": str(experiment),
        "condition": _text(attributes.get("experiment.condition")),
        "trial_id": _text(attributes.get("experiment.trial.id")),
        "item_id": _text(attributes.get("experiment.item.id")),
        "repetition": repetition if type(repetition) is int and repetition in _INT64 else None,
        "session_id": _text(attributes.get("session.id")),
        "factors": values.to_json(factors) if factors else None,
        "experiment_source": "attributes",
        "aside": _text(attributes.get("experiment.aside")),
    }


def _text(value: Any) -> str | None:
    """A tag as text; an empty one says nothing."""
    return (value if type(value) is str else str(value)) or None if value is not None else None


def _kept_aside(text: str) -> Row:
    """The columns that our own export kept beside a span; anything that does not fit is left as the span says."""
    try:
        kept = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return {name: value for name, value in kept.items() if _fits(name, value)} if isinstance(kept, dict) else {}


def _fits(name: str, value: Any) -> bool:
    dtype = _TYPES.get(name)
    if dtype is None or value is None:
        return dtype is not None
    expected = {pl.String(): str, pl.Int64(): int, pl.Float64(): float, pl.Boolean(): bool}[dtype]
    return type(value) is expected and (expected is not int or value in _INT64)


def batches(rows: Iterable[Row], size: int) -> Iterable[pl.DataFrame]:
    """Frames of at most `size` rows."""
    waiting: list[Row] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) >= size:
            yield frame(waiting)
            waiting = []
    if waiting:
        yield frame(waiting)
