"""Spans as the pages list them: the latest of an experiment, and one trace as a tree."""

from __future__ import annotations

import json
import re
from typing import Any

import polars as pl

from otel_research.errors import ConfigurationError
from otel_research.handle import Experiment
from otel_research.semconv.content import is_harmless
from otel_research.watching.events import LINE, lines

LATEST = 60
SPANS = 2000
"""Spans of one trace that are sent; a longer trace says how many it has."""
TEXT = 200_000
"""Characters of one attribute that are sent; the raw download has all of it."""
_TRACE = re.compile(r"[0-9a-f]{32}")


def latest(rows: pl.LazyFrame, count: int = LATEST) -> list[dict[str, Any]]:
    """The spans that ended last, the last one first."""
    moment = pl.coalesce("end_ns", "last_seen_ns", "start_ns")
    return shown(rows.top_k(count, by=moment).sort(moment, descending=True).collect())


def shown(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as a list shows them."""
    return [in_browser(line) for line in lines(rows)]


def in_browser(line: dict[str, Any]) -> dict[str, Any]:
    """A line with its times in milliseconds: a browser's numbers are exact up to 2**53, nanoseconds are beyond."""
    start, end = line["start_ns"], line["end_ns"]
    rest = {name: value for name, value in line.items() if name not in ("start_ns", "end_ns")}
    return {**rest, "start_ms": None if start is None else start / 1e6, "end_ms": None if end is None else end / 1e6}


def trace(experiment: Experiment, trace_id: str) -> dict[str, Any]:
    """One trace: its spans in tree order, each with its depth, attributes, events, links and content.

    Raises `ConfigurationError` where the id cannot be one or the experiment has no such trace.
    """
    if not _TRACE.fullmatch(trace_id):
        raise ConfigurationError(f"{trace_id[:80]!r} is not a trace id: 32 lower-case hex digits.")
    # Marking and pricing need the whole experiment; a trace is marked on its own rows.
    rows = experiment.spans().filter(pl.col("trace_id") == trace_id).sort("start_ns", "span_id").collect()
    if rows.is_empty():
        raise ConfigurationError(f"the experiment {experiment.name!r} has no trace {trace_id}.")
    ordered = _in_tree_order(rows.to_dicts())
    return {
        "trace_id": trace_id,
        "experiment": {"id": experiment.id, "name": experiment.name, "content": experiment.record.content},
        "total": rows.height,
        "shown": min(rows.height, SPANS),
        "spans": [_whole(row, depth) for row, depth in ordered[:SPANS]],
    }


def _in_tree_order(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Children under their parents, by start; an orphan or a circle begins a tree of its own."""
    known = {row["span_id"] for row in rows}
    children: dict[str | None, list[dict[str, Any]]] = {}
    for row in rows:
        parent = row["parent_span_id"]
        children.setdefault(parent if parent in known and parent != row["span_id"] else None, []).append(row)
    ordered: list[tuple[dict[str, Any], int]] = []
    seen: set[int] = set()

    def walk(roots: list[dict[str, Any]]) -> None:
        waiting = [(row, 0) for row in reversed(roots)]
        while waiting:
            row, depth = waiting.pop()
            if id(row) in seen:
                continue
            seen.add(id(row))
            ordered.append((row, depth))
            waiting += [(child, depth + 1) for child in reversed(children.get(row["span_id"], []))]

    walk(children.get(None, []))
    for row in rows:
        if id(row) not in seen:
            walk([row])
    return ordered


def _whole(row: dict[str, Any], depth: int) -> dict[str, Any]:
    attributes = _json(row.get("attributes"), {})
    kept = {key: _capped(value) for key, value in attributes.items()}
    line = in_browser({name: row[name] for name in LINE})
    facts = ("parent_span_id", "kind", "scope", "scope_version", "status_message", "excluded_because", "trial_id",
             "item_id", "repetition", "session_id", "provider", "response_model", "finish_reason", "ttft_ms", "flags",
             "cost_source", "aside", "experiment_source", "is_sampled", "dropped_attributes", "dropped_events")  # fmt: skip
    return {
        **line,
        "depth": depth,
        "facts": {name: row[name] for name in facts if row.get(name) is not None},
        "start_ns": str(row["start_ns"]),
        "end_ns": None if row["end_ns"] is None else str(row["end_ns"]),
        "attributes": kept,
        "events": [_event(event) for event in _json(row.get("events"), [])],
        "links": _json(row.get("links"), []),
        "resource": _json(row.get("resource"), {}),
        "content": {key: value for key, value in kept.items() if _is_prose(key, value)},
    }


def _is_prose(key: str, value: Any) -> bool:
    """Whether it may be what people or models wrote, by the rule that the content policy goes by."""
    return isinstance(value, (str, list, dict)) and bool(value) and not is_harmless(key)


def _event(event: Any) -> Any:
    if not isinstance(event, dict):
        return event
    attributes = {key: _capped(value) for key, value in (event.get("attributes") or {}).items()}
    return {**event, "time_ns": str(event.get("time_ns")), "attributes": attributes}


def _json(text: Any, otherwise: Any) -> Any:
    if text is None:
        return otherwise
    try:
        found = json.loads(text)
    except ValueError:
        return {"(not JSON)": _capped(str(text))} if isinstance(otherwise, dict) else otherwise
    return found if isinstance(found, type(otherwise)) else otherwise


def _capped(value: Any) -> Any:
    """A value that a page can show: a very long text says where it was cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= TEXT:
        return value
    return f"{text[:TEXT]}\n… cut: {len(text):,} characters, the first {TEXT:,} are shown; an export has all of them."
