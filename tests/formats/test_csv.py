"""CSV export: what a spreadsheet, R and pandas read."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from otel_research.formats import export
from otel_research.formats.table import LEADING

Spans = Callable[..., pl.LazyFrame]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_leading_columns_come_first_then_one_column_per_attribute(spans: Spans, tmp_path: Path) -> None:
    """The header is the ten leading columns, then every attribute key that any row has, sorted."""
    frame = spans({"attributes": {"b": 1}}, {"attributes": {"a": 2, "c": 3}})
    path = export(frame, "csv", tmp_path / "spans.csv")
    assert tuple(path.read_text().splitlines()[0].split(",")) == (*LEADING, "a", "b", "c")
    assert [row["a"] for row in read(path)] == ["", "2"]


def test_a_row_reads_as_it_was_recorded(spans: Spans, tmp_path: Path) -> None:
    """Time is UTC with microseconds, duration is in microseconds with its nanoseconds, numbers are numbers."""
    (row,) = read(export(spans({}), "csv", tmp_path / "spans.csv"))
    assert row["timestamp"] == "2026-01-01T00:00:00.123456Z"
    assert datetime.fromisoformat(row["timestamp"]) == datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)
    assert float(row["duration_us"]) == 1234.567
    assert (row["input_tokens"], row["cost_usd"], row["model"]) == ("10", "0.00125", "gpt-5")


def test_unknown_is_an_empty_cell_and_never_zero(spans: Spans, tmp_path: Path) -> None:
    """A span without an end, tokens or a price has empty cells there."""
    frame = spans({"end_ns": None, "duration_ms": None, "input_tokens": None, "cost_usd": None})
    (row,) = read(export(frame, "csv", tmp_path / "spans.csv"))
    assert [row[name] for name in ("duration_us", "input_tokens", "cost_usd", "error_type")] == [""] * 4


def test_a_point_in_time_has_no_duration(spans: Spans, tmp_path: Path) -> None:
    """Where the canonical duration is unknown, start and end are not subtracted again."""
    (row,) = read(export(spans({"duration_ms": None}), "csv", tmp_path / "spans.csv"))
    assert row["duration_us"] == ""


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1"])
def test_text_that_a_spreadsheet_would_run_is_neutralised(spans: Spans, tmp_path: Path, text: str) -> None:
    """A formula in a name, an attribute or an attribute's key gets an apostrophe in front."""
    frame = spans({"name": text, "attributes": {"prompt": text, text: "x"}})
    (row,) = read(export(frame, "csv", tmp_path / "spans.csv"))
    assert row["event_name"] == "'" + text
    assert row["prompt"] == "'" + text
    assert row["'" + text] == "x"


def test_negative_numbers_stay_numbers(spans: Spans, tmp_path: Path) -> None:
    """Only text is neutralised: -3 and -0.5 are numbers, also beside text under the same key."""
    frame = spans({"attributes": {"n": -3, "mixed": -1}}, {"attributes": {"n": -0.5, "mixed": "auto"}})
    rows = read(export(frame, "csv", tmp_path / "spans.csv"))
    assert [row["n"] for row in rows] == ["-3", "-0.5"]
    assert [row["mixed"] for row in rows] == ["-1", "auto"]


def test_values_of_every_kind_survive(spans: Spans, tmp_path: Path) -> None:
    """Lists and mappings are JSON, booleans are words, floats and big integers keep every digit."""
    values = {"l": ["a", 1], "m": {"k": None}, "t": True, "f": 0.1 + 0.2, "i": 10**30, "nan": float("nan"), "b": b"hi"}
    (row,) = read(export(spans({"attributes": values}), "csv", tmp_path / "spans.csv"))
    assert row["l"] == '["a",1]'
    assert row["m"] == '{"k":null}'
    assert (row["t"], row["f"], row["i"]) == ("true", "0.30000000000000004", str(10**30))
    assert (row["nan"], row["b"]) == ("NaN", "aGk=")


def test_text_with_commas_quotes_and_line_breaks_round_trips(spans: Spans, tmp_path: Path) -> None:
    """What goes in as text comes out of any CSV reader as the same text."""
    text = 'He said "a,b";\r\nthen\nleft \u00e9\U0001f600'
    (row,) = read(export(spans({"attributes": {"prompt": text}}), "csv", tmp_path / "spans.csv"))
    assert row["prompt"] == text


def test_an_attribute_with_the_name_of_a_column_gets_a_prefix(spans: Spans, tmp_path: Path) -> None:
    """An attribute `model` does not hide the column `model`."""
    (row,) = read(export(spans({"attributes": {"model": "other"}}), "csv", tmp_path / "spans.csv"))
    assert (row["model"], row["attr.model"]) == ("gpt-5", "other")


def test_no_spans_give_a_header_and_no_rows(spans: Spans, tmp_path: Path) -> None:
    """An empty experiment is an empty table, not an error."""
    path = export(spans(), "csv", tmp_path / "spans.csv")
    assert path.read_text() == ",".join(LEADING) + "\n"


def test_gzip_holds_the_same_bytes(spans: Spans, tmp_path: Path) -> None:
    """Compression changes nothing else, and the same rows give the same file."""
    plain = export(spans({}), "csv", tmp_path / "a.csv").read_bytes()
    first = export(spans({}), "csv", tmp_path / "a.csv.gz", compression="gzip").read_bytes()
    assert gzip.decompress(first) == plain
    assert export(spans({}), "csv", tmp_path / "b.csv.gz", compression="gzip").read_bytes() == first


def test_keys_that_appear_between_the_passes_are_not_lost(tmp_path: Path, spans: Spans) -> None:
    """A running experiment may bring a new key after the first pass: the file has its column all the same."""
    from polars.io.plugins import register_io_source

    later = spans({"attributes": {"a": 1}}, {"attributes": {"late": 2}}).collect()
    reads: list[int] = []

    def source(columns: list[str] | None, predicate: object, rows: int | None, size: int | None):  # type: ignore[no-untyped-def]
        reads.append(1)
        frame = later.head(1) if len(reads) == 1 else later
        yield frame.select(columns) if columns else frame

    growing = register_io_source(source, schema=later.schema)
    rows = read(export(growing, "csv", tmp_path / "spans.csv"))
    assert [(row["a"], row["late"]) for row in rows] == [("1", ""), ("", "2")]
