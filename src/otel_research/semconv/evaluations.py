"""Evaluation results that a row carries beside its own business, as one JSON text.

events          `gen_ai.evaluation.result`, any number on a span
evaluators      a judge's span, whose output is a number, {"score": ..., "label": ...}, {"name": number} or a list of these
annotations     OpenInference's flattened `annotations.N.*` and `evaluations.N.*`, of the span, its trace or its session
attributes      Langfuse's `langfuse.score.*`, TruLens' `ai.observability.eval_root.*`, Braintrust's scores, Pydantic Evals' cases

Such rows are few, so they are read one by one; a result without a number and without a label is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from otel_research.semconv.attributes import as_text, row_of
from otel_research.semconv.dialect import EVALUATOR, PREFIX
from otel_research.semconv.kinds import Batch

EVENT = "gen_ai.evaluation.result"
SIGNS = (
    "annotations.0.annotation.name",
    "evaluations.0.evaluation.name",
    "trace.annotations.0.annotation.name",
    "trace.evaluations.0.evaluation.name",
    "session.annotations.0.annotation.name",
    "session.evaluations.0.evaluation.name",
    "langfuse.score.name",
    "ai.observability.eval_root.metric_name",
    "braintrust.scores",
    "assertions",
)
"""Attributes that betray a row with results (those of events and evaluators are told by the event and the role)."""
_MARKED = "_has_results"
_OUTPUTS = (
    "output.value",
    "langfuse.observation.output",
    "mlflow.spanOutputs",
    "lmnr.span.output",
    "langwatch.output",
    "braintrust.output_json",
    "braintrust.output",
    "judgment.output",
)
_NOTE = re.compile(r"(?:trace\.|session\.)?(?:annotations|evaluations)\.\d+\.(?:annotation|evaluation)\.name")
_VALUES = ("score", "value", "score_value", "passed", "result")
_LABELS = ("label", "category", "verdict")
_WHYS = ("explanation", "reason", "reasoning", "rationale", "comment", "details")

Result = dict[str, Any]


def read(batch: Batch, attributes: pl.Series, events: pl.Series) -> pl.Series:
    """Per row a JSON array of {name, value, label, explanation, source}; null where there is none."""
    signs = [PREFIX + key for key in SIGNS if PREFIX + key in batch.columns]
    has_sign = [pl.col(key).is_not_null() for key in signs]
    marked = pl.any_horizontal(pl.col("event_score").fill_null(False), pl.col("role").eq_missing(EVALUATOR), *has_sign)
    batch.add([marked.alias(_MARKED)])
    if not batch.has_any(_MARKED):
        return pl.repeat(None, len(attributes), dtype=pl.String, eager=True)
    told = batch.select(["name", "role", "scope", _MARKED]).with_columns(attributes=attributes, events=events)
    at = told[_MARKED].arg_true()
    rows = told.drop(_MARKED)[at].iter_rows()
    found = pl.Series([_text(list(_found(*row))) for row in rows], dtype=pl.String)
    return pl.repeat(None, len(told), dtype=pl.String, eager=True).scatter(at, found)


def _text(found: list[Result]) -> str | None:
    told = [one for one in found if one["value"] is not None or one["label"] is not None]
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")) if told else None


def _found(
    name: str | None, role: str | None, scope: str | None, attributes: str | None, events: str | None
) -> Iterator[Result]:
    told = row_of(attributes) or {}
    yield from _of_events(events)
    yield from _of_notes(told)
    for reader in _READERS:
        yield from reader(told)
    if (scope or "").startswith("pydantic-evals"):
        yield from _of_case(told)
    if role == EVALUATOR:
        for key in _OUTPUTS:
            if told.get(key) is not None:
                yield from _verdicts(str(name or key), _parsed(told[key]))
                return


def _of_events(events: str | None) -> Iterator[Result]:
    for event in _list(events):
        told = event.get("attributes") if isinstance(event, Mapping) and event.get("name") == EVENT else None
        if isinstance(told, Mapping):
            prefix = "gen_ai.evaluation."
            yield _result(
                told.get(prefix + "name"), told.get(prefix + "score.value"), told.get(prefix + "score.label"),
                told.get(prefix + "explanation"), "event",
            )  # fmt: skip


def _of_notes(told: Mapping[str, Any]) -> Iterator[Result]:
    for key in told:
        if _NOTE.fullmatch(key):
            note = key.removesuffix("name")
            name, value, label, why = (told.get(note + part) for part in ("name", "score", "label", "explanation"))
            yield _result(name, value, label, why, "annotation")


def _of_langfuse(told: Mapping[str, Any]) -> Iterator[Result]:
    if "langfuse.score.name" in told:
        value = told.get("langfuse.score.value")
        label = told.get("langfuse.score.string_value", value if _number(value) is None else None)
        yield _result(told["langfuse.score.name"], value, label, told.get("langfuse.score.comment"), "annotation")


def _of_trulens(told: Mapping[str, Any]) -> Iterator[Result]:
    root = "ai.observability.eval_root."
    if root + "score" in told:
        named = told.get(root + "metric_name")
        yield _result(named, told[root + "score"], None, told.get(root + "explanation"), "evaluator")


def _of_braintrust(told: Mapping[str, Any]) -> Iterator[Result]:
    if "braintrust.scores" in told:
        yield from _verdicts("score", _parsed(told["braintrust.scores"]))


def _of_case(told: Mapping[str, Any]) -> Iterator[Result]:
    for key in ("assertions", "scores", "labels"):
        results = _parsed(told.get(key))
        if isinstance(results, Mapping):
            for name, result in results.items():
                yield from _verdicts(str(name), result)


_READERS: tuple[Callable[[Mapping[str, Any]], Iterator[Result]], ...] = (_of_langfuse, _of_trulens, _of_braintrust)


def _verdicts(name: str, output: Any) -> Iterator[Result]:
    """The results in what a judge said."""
    if isinstance(output, list):
        for one in output:
            yield from _verdicts(name, one)
    elif isinstance(output, Mapping):
        value, label = _first(output, _VALUES), _first(output, _LABELS)
        if isinstance(value, Mapping):
            yield from _verdicts(name, value)
        elif value is not None or label is not None:
            label = label if label is not None else value if _number(value) is None else None
            yield _result(output.get("name") or name, value, label, _first(output, _WHYS), "evaluator")
        else:
            numbers = {key: one for key, one in output.items() if _number(one) is not None}
            yield from (_result(key, one, None, None, "evaluator") for key, one in numbers.items())
    elif _number(output) is not None:
        yield _result(name, output, None, None, "evaluator")


def _first(told: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((told[key] for key in keys if told.get(key) is not None), None)


def _result(name: Any, value: Any, label: Any, explanation: Any, source: str) -> Result:
    texts = {"label": label, "explanation": explanation}
    return {
        "name": None if name is None else str(name),
        "value": _number(value),
        **{key: None if one is None else as_text(one) for key, one in texts.items()},
        "source": source,
    }


def _number(value: Any) -> float | None:
    """The value as a finite number; true is 1, false 0; text only where it is one."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _list(text: str | None) -> list[Any]:
    found = _parsed(text)
    return found if isinstance(found, list) else []
