"""JSON Lines export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from otel_research.formats import export
from otel_research.formats.table import LEADING
from otel_research.spans import values

Spans = Callable[..., pl.LazyFrame]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_the_leading_columns_and_three_objects(spans: Spans, tmp_path: Path) -> None:
    """Every line has the same keys in the same order; attributes, events and links are no text."""
    event = {"name": "x", "time_ns": 1, "attributes": {"k": [1]}}
    (line,) = read(export(spans({"events": json.dumps([event])}), "jsonl", tmp_path / "spans.jsonl"))
    assert tuple(line) == (*LEADING, "attributes", "events", "links")
    assert line["attributes"] == {"gen_ai.request.model": "gpt-5", "n": 0}
    assert (line["events"], line["links"]) == ([event], [])
    assert line["error_type"] is None


def test_what_json_cannot_hold_is_tagged_and_reads_back(spans: Spans, tmp_path: Path) -> None:
    """NaN, bytes and huge integers survive, and every line is standard JSON."""
    given = {"nan": float("inf"), "bytes": b"\x00", "big": 2**80, "text": "line\nbreak"}
    path = export(spans({"attributes": given}), "jsonl", tmp_path / "spans.jsonl")
    (line,) = path.read_text().splitlines()
    plain = json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert values.untagged(plain["attributes"]) == given


def test_pretty_printed_attributes_stay_on_one_line(spans: Spans, tmp_path: Path) -> None:
    """A foreign store may return JSON with line breaks; a line is a span all the same."""
    frame = spans({"attributes": {}}).with_columns(attributes=pl.lit('{\n  "a": 1\n}'))
    assert read(export(frame, "jsonl", tmp_path / "x.jsonl"))[0]["attributes"] == {"a": 1}


@pytest.mark.parametrize("text", ['{"a": ', "nonsense", '{"a": 1}{'])
def test_a_damaged_row_is_visible_and_costs_no_other(spans: Spans, tmp_path: Path, text: str) -> None:
    """Text that is not JSON is kept whole under "$malformed"; the rows beside it are as they were."""
    frame = pl.concat([spans({}).with_columns(attributes=pl.lit(text), events=pl.lit(text)), spans({})])
    damaged, whole = read(export(frame, "jsonl", tmp_path / "x.jsonl"))
    assert damaged["attributes"] == damaged["events"] == {"$malformed": text}
    assert whole["attributes"]["n"] == 0


def test_a_function_may_return_any_value(spans: Spans, tmp_path: Path) -> None:
    """Objects stay objects in JSON Lines."""
    made = {"tokens": lambda row: {"in": row["input_tokens"], "list": (1, float("nan"))}}
    (line,) = read(export(spans({}), "jsonl", tmp_path / "x.jsonl", transformers=made))
    assert line["tokens"] == {"in": 10, "list": [1, {"$float": "NaN"}]}
