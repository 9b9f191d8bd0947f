"""MLflow traces as JSON: `Trace.to_json()`, `mlflow traces get`, `mlflow traces search --output json`.

A trace is `{"info": ..., "data": {"spans": [...]}}`. Spans of MLflow 3 have ids in base64 and
OTLP's names; those of MLflow 2 have ids as `0x...` and names of their own. Feedback becomes
score rows below the span it is about, else below the root.
Checked against MLflow 3.17.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from otel_research.formats import otlp_json
from otel_research.formats.otlp_rows import (
    EVALUATION,
    Link,
    Log,
    Moment,
    Origin,
    Row,
    Span,
    nanoseconds,
    score_row,
    span_row,
    verdict,
)
from otel_research.formats.stamps import nanoseconds_of
from otel_research.spans import values

SCOPE = "mlflow.tracing.provider"
_STATUS = {"ok": 1, "error": 2}
# What MLflow's own OTLP export writes on the root span; its JSON keeps it in the trace's metadata.
_ON_ROOT = ("mlflow.trace.session", "mlflow.trace.user")
_ABOUT = ("mlflow.source.name", "mlflow.source.git.commit", "mlflow.traceName")


def is_document(document: Any) -> bool:
    """Is this a trace, a list of traces or a search result?"""
    if isinstance(document, list):
        return bool(document) and is_document(document[0])
    if not isinstance(document, dict):
        return False
    if isinstance(document.get("traces"), list):
        return all(_is_trace(trace) for trace in document["traces"])
    return _is_trace(document)


def _is_trace(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("info"), dict) and "data" in document


def rows(document: Any) -> Iterator[Row | str]:
    """The rows of every trace of a document; text says what could not be read."""
    traces = document if isinstance(document, list) else document.get("traces", [document])
    for trace in traces:
        yield from _trace(trace)


def _trace(trace: dict[str, Any]) -> Iterator[Row | str]:
    info, data = trace["info"], trace["data"]
    data = json.loads(data) if isinstance(data, str) else data or {}
    metadata = {**_mapping(info.get("trace_metadata") or info.get("request_metadata")), **_mapping(info.get("tags"))}
    name = info.get("trace_id") or info.get("request_id") or "?"
    origin = Origin(_resource(info, metadata), SCOPE, None)
    root: Row | None = None
    for span in data.get("spans") or ():
        try:
            read = _span(span)
            if read.parent_span_id is None:
                read.attributes.update(
                    {key: metadata[key] for key in _ON_ROOT if metadata.get(key) and key not in read.attributes}
                )
            row = span_row(read, origin)
        except (ValueError, TypeError, AttributeError) as exc:
            yield f"a span of MLflow trace {name} cannot be read: {exc}"
            continue
        root = root or (row if read.parent_span_id is None else None)
        yield row
    for assessment in info.get("assessments") or ():
        yield _score(assessment, root, origin, name)


def _resource(info: dict[str, Any], metadata: dict[str, Any]) -> str:
    location = _mapping(_mapping(info.get("trace_location")).get("mlflow_experiment"))
    about = {"mlflow.experiment_id": location.get("experiment_id") or info.get("experiment_id")}
    about |= {key: metadata.get(key) for key in _ABOUT}
    return values.to_json({key: value for key, value in about.items() if value not in (None, "")})


def _span(span: dict[str, Any]) -> Span:
    context = span.get("context")
    ids = context if isinstance(context, dict) else span
    status = span.get("status")
    code = status.get("code") if isinstance(status, dict) else span.get("status_code")
    message = status.get("message") if isinstance(status, dict) else span.get("status_message")
    start = span.get("start_time_unix_nano", span.get("start_time"))
    end = span.get("end_time_unix_nano", span.get("end_time"))
    parent = span.get("parent_span_id", span.get("parent_id"))
    return Span(
        trace_id=_id(ids.get("trace_id"), 16),
        span_id=_id(ids.get("span_id"), 8),
        parent_span_id=_id(parent, 8) if parent else None,
        name=str(span.get("name") or ""),
        kind=1,
        start_ns=nanoseconds(int(start or 0)),
        end_ns=nanoseconds(int(end or 0)),
        attributes=dict(span.get("attributes") or {}),
        events=[_event(event) for event in span.get("events") or ()],
        links=[_link(link) for link in span.get("links") or ()],
        status=_STATUS.get(str(code or "").removeprefix("STATUS_CODE_").lower(), 0),
        status_message=message or None,
        flags=0,
        dropped=(0, 0, 0),
    )


def _event(event: dict[str, Any]) -> Moment:
    time = event.get("time_unix_nano", event.get("timestamp"))
    return Moment(str(event.get("name") or ""), nanoseconds(int(time or 0)), dict(event.get("attributes") or {}))


def _link(link: dict[str, Any]) -> Link:
    return Link(_id(link.get("trace_id"), 16), _id(link.get("span_id"), 8), dict(link.get("attributes") or {}))


def _id(value: Any, size: int) -> str:
    """An id in base64 or hex, with MLflow's `0x` or `tr-` before it where it is there."""
    text = str(value or "")
    for prefix in ("0x", "tr-"):
        text = text.removeprefix(prefix)
    return otlp_json.read_id(text, size)


def _score(assessment: dict[str, Any], root: Row | None, origin: Origin, trace: str) -> Row | str:
    """Feedback as a score row; what is expected of an answer is no score of it."""
    name = assessment.get("assessment_name") or assessment.get("name")
    feedback = assessment.get("feedback")
    if not isinstance(feedback, dict):
        return f"assessment '{name}' of MLflow trace {trace} is no feedback"
    if root is None:
        return f"assessment '{name}' of MLflow trace {trace} has no root span to belong to"
    try:
        about = _id(assessment["span_id"], 8) if assessment.get("span_id") else root["span_id"]
    except ValueError as exc:
        return f"assessment '{name}' of MLflow trace {trace} cannot be read: {exc}"
    time_ns = nanoseconds_of(assessment.get("create_time") or assessment.get("create_time_ms")) or root["end_ns"]
    said = verdict(str(name), feedback.get("value"), assessment.get("rationale"))
    source = _mapping(assessment.get("source")).get("source_type")
    if source:
        said["mlflow.assessment.source_type"] = source
    return score_row(Log(EVALUATION, root["trace_id"], about, time_ns, said), origin)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
