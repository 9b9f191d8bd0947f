"""Inspect logs: `.eval` archives and the JSON form.

A sample is a trial: its id is the item, its epoch the repetition. Model events are calls, in the
words of OpenTelemetry GenAI; tool events and Inspect's own spans keep their place in the tree;
scores become score rows. Calls that a scorer makes are an aside, and calls that Inspect answered
from its own cache are no calls. Ids are digests of Inspect's, so that importing again gives the
same rows. Checked against inspect_ai 0.3.285 (log version 2).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from otel_research.formats import inspect_events
from otel_research.formats.otlp_rows import EVALUATION, Row, verdict
from otel_research.formats.stamps import nanoseconds_of
from otel_research.formats.zipped import Unreadable, members
from otel_research.spans import values

SCOPE = "otel_research.inspect"
# Inspect's own reading of the usual verdicts (`value_to_float`).
_VERDICTS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_ABOUT = ("task", "task_id", "task_version", "eval_id", "run_id", "model", "created", "solver")


def is_document(document: Any) -> bool:
    """Is this a log in JSON?"""
    return isinstance(document, dict) and isinstance(document.get("eval"), dict) and "samples" in document


def rows(document: Any) -> Iterator[Row | str]:
    """The rows of a log in JSON; text says what could not be read."""
    log = _Log(document["eval"])
    for sample in document.get("samples") or ():
        yield from _sample(log, sample)


def archive_rows(content: bytes) -> Iterator[Row | str]:
    """The rows of an `.eval` archive, sample by sample; text says what could not be read."""
    try:
        names = members(content)
    except Unreadable as exc:
        yield str(exc)
        return
    # The header is written last: the log of a crashed run has only the journal's beginning.
    header = next((name for name in ("header.json", "_journal/start.json") if name in names), None)
    if header is None:
        yield "the archive is no Inspect log: it has neither header.json nor _journal/start.json"
        return
    try:
        log = _Log(json.loads(names[header]())["eval"])
    except (Unreadable, ValueError, LookupError, TypeError) as exc:
        yield f"{header} cannot be read: {exc}"
        return
    for name in sorted(names):
        if name.startswith("samples/") and name.endswith(".json"):
            try:
                sample = json.loads(names[name]())
            except (Unreadable, ValueError) as exc:
                yield f"{name} cannot be read: {exc}"
                continue
            yield from _sample(log, sample)


class _Log:
    """What all samples of a log share."""

    def __init__(self, evaluation: dict[str, Any]) -> None:
        about = {f"inspect.{key}": evaluation.get(key) for key in _ABOUT}
        about |= {f"inspect.package.{name}": version for name, version in (evaluation.get("packages") or {}).items()}
        about = {"service.name": evaluation.get("task"), **about}
        self.id = str(evaluation.get("eval_id") or evaluation.get("run_id") or evaluation.get("created"))
        self.resource = values.to_json({key: value for key, value in about.items() if value not in (None, "")})
        levels = {"task": evaluation.get("task"), "model": evaluation.get("model")}
        self.factors = values.to_json({key: value for key, value in levels.items() if value})


def _sample(log: _Log, sample: Any) -> Iterator[Row | str]:
    try:
        yield from _trial(log, sample)
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        name = f"{sample.get('id')}, epoch {sample.get('epoch')}" if isinstance(sample, dict) else "?"
        yield f"Inspect sample {name} cannot be read: {exc}"


def _trial(log: _Log, sample: dict[str, Any]) -> list[Row]:
    events = [event for event in sample.get("events") or () if isinstance(event, dict)]
    key = f"{log.id}/{sample.get('uuid') or ''}/{sample['id']}/{sample.get('epoch', 1)}"
    times = [nanoseconds_of(event.get(name)) for event in events for name in ("timestamp", "completed")]
    known = [time for time in times if time is not None]
    common: Row = {
        "trial_id": _digest(key, 8),
        "item_id": str(sample["id"]),
        "repetition": int(sample.get("epoch") or 1) - 1,
        "factors": log.factors,
        "sample_weight": 1.0,
        "trace_id": _digest(key, 16),
        "parent_span_id": _digest(key, 8),
        "kind": "internal",
        "scope": SCOPE,
        "resource": log.resource,
        "dropped_attributes": 0,
        "dropped_events": 0,
        "dropped_links": 0,
    }
    end = nanoseconds_of(sample.get("completed_at")) or max(known, default=None)
    error = sample.get("error") or {}
    said = {
        "experiment.row": "trial",
        "experiment.item.id": common["item_id"],
        "experiment.repetition": common["repetition"],
        "inspect.input": _text(sample.get("input")),
        "inspect.target": _text(sample.get("target")),
        "inspect.metadata": _text(sample.get("metadata") or None),
        "inspect.limit": (sample.get("limit") or {}).get("type"),
        "inspect.total_time": sample.get("total_time"),
        "inspect.working_time": sample.get("working_time"),
    }
    if error:
        said |= {"experiment.trial.outcome": "failed", "experiment.trial.failure_reason": error.get("message")}
    trial = common | {
        "span_id": common["trial_id"],
        "parent_span_id": None,
        "name": "trial",
        "start_ns": nanoseconds_of(sample.get("started_at")) or min(known, default=None),
        "end_ns": end,
        "status": "error" if error else "ok",
        "status_message": error.get("message"),
        "attributes": _attributes(said),
    }
    spans = inspect_events.rows(events, sample, common, lambda name: _digest(f"{key}/{name}", 8))
    scores = [
        common | _score(name, value, score, end, _digest(f"{key}/score/{name}", 8))
        for scorer, score in (sample.get("scores") or {}).items()
        for name, value in _values(scorer, score.get("value"))
    ]
    return [trial, *spans, *scores]


def _values(scorer: str, value: Any) -> list[tuple[str, Any]]:
    """One verdict per scorer, or one per key where a scorer gives several."""
    if isinstance(value, dict):
        return [(f"{scorer}/{key}", inner) for key, inner in value.items()]
    if isinstance(value, list):
        return [(f"{scorer}/{number}", inner) for number, inner in enumerate(value)]
    return [(scorer, value)]


def _score(name: str, value: Any, score: dict[str, Any], time_ns: int | None, span_id: str) -> Row:
    said = verdict(name, value, score.get("explanation"))
    if isinstance(value, str):
        number = _VERDICTS.get(value, _VERDICTS.get(value.lower()))
        # A label of the scorer's own has no number.
        with suppress(ValueError):
            said["gen_ai.evaluation.score.value"] = float(value) if number is None else number
    said |= {"experiment.row": "score", "inspect.answer": _text(score.get("answer"))}
    return {
        "span_id": span_id,
        "name": EVALUATION,
        "start_ns": time_ns,
        "end_ns": time_ns,
        "status": "unset",
        "attributes": _attributes(said),
    }


def _attributes(said: dict[str, Any]) -> str:
    return values.to_json({key: value for key, value in said.items() if value is not None})


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _digest(key: str, size: int) -> str:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
