"""What every format shares: choice of columns, transformers, filter, errors, atomic files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import otel_research as otr
from otel_research.errors import ConfigurationError
from otel_research.formats import default_name, export

Spans = Callable[..., pl.LazyFrame]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_columns_are_leading_ones_columns_of_spans_or_attributes(spans: Spans, tmp_path: Path) -> None:
    """Any of the three kinds of names works, in the order given, and nothing else is written."""
    names = ["n", "trace_id", "timestamp", "attr.gen_ai.request.model"]
    (line,) = lines(export(spans({}), "jsonl", tmp_path / "x", columns=names))
    assert line == {
        "n": 0,
        "trace_id": "0" * 32,
        "timestamp": "2026-01-01T00:00:00.123456Z",
        "attr.gen_ai.request.model": "gpt-5",
    }
    assert list(line) == names


def test_an_expression_replaces_a_column_or_adds_one(spans: Spans, tmp_path: Path) -> None:
    """A new name comes last; an expression may read attributes by key."""
    made = {"model": pl.col("model").str.to_uppercase(), "double": pl.col("n") * 2, "cents": pl.col("cost_usd") * 100}
    read = lines(export(spans({}, {}), "jsonl", tmp_path / "x", transformers=made))
    assert [line["model"] for line in read] == ["GPT-5"] * 2
    assert [line["double"] for line in read] == [0, 2]
    assert list(read[0])[-2:] == ["double", "cents"]


def test_a_function_gets_the_row_as_a_dict(spans: Spans, tmp_path: Path) -> None:
    """Columns of spans(), leading columns and attributes by key are in the row; a column wins over an attribute."""
    seen: list[dict[str, Any]] = []
    frame = spans({"attributes": {"status": "attribute", "k": b"x"}})
    export(frame, "csv", tmp_path / "x", transformers={"y": lambda row: seen.append(row)})
    (row,) = seen
    assert (row["status"], row["attr.status"], row["k"], row["event_name"]) == (
        "unset",
        "attribute",
        b"x",
        "chat gpt-5",
    )


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_function_that_raises_is_named_with_its_row(spans: Spans, tmp_path: Path, format: str) -> None:
    """Column, row and span are in the message, the original error is its cause, and no file is left."""
    with pytest.raises(
        ConfigurationError, match=r"'ratio' failed at row 2 .*span 0{15}1\): ZeroDivisionError"
    ) as caught:
        export(spans({}, {}), format, tmp_path / "x", transformers={"ratio": lambda row: 1 / (1 - row["n"])})
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"condition": "b"}, [1, 2]),
        ({"condition": ["a", "b"], "input_tokens": 10}, [0, 1]),
        ({"input_tokens": None}, [2]),
        (pl.col("input_tokens").is_null() | (pl.col("condition") == "a"), [0, 2]),
        ({}, [0, 1, 2]),
    ],
)
def test_where_keeps_the_rows_that_match(spans: Spans, tmp_path: Path, where: Any, expected: list[int]) -> None:
    """A mapping means equal, one of, or missing; an expression means itself."""
    frame = spans({"condition": "a"}, {"condition": "b"}, {"condition": "b", "input_tokens": None})
    read = lines(export(frame, "jsonl", tmp_path / "x", columns=["n"], where=where))
    assert [line["n"] for line in read] == expected


BAD = [
    ({"format": "cvs"}, "'cvs'.*'csv'"),
    ({"columns": ["modle"]}, "'modle'.*'model'"),
    ({"columns": []}, "empty"),
    ({"columns": ["name", "name"]}, "'name'.*twice"),
    ({"columns": [1]}, "names, got 1"),
    ({"where": {"conditoin": 1}}, "'conditoin'.*'condition'"),
    ({"where": "condition"}, "where.*str"),
    ({"where": pl.col("statsu") == "ok"}, "'statsu'.*'status'"),
    ({"transformers": {"x": pl.col("modle")}}, "'x'.*'modle'.*'model'"),
    ({"transformers": {"x": 3}}, "'x' is a int"),
    ({"compression": "zip"}, "'zip'.*gzip"),
    ({"format": "parquet", "compression": "rar"}, "'rar'.*zstd"),
]


@pytest.mark.parametrize(("request_", "message"), BAD)
def test_a_wrong_request_is_refused_by_name(spans: Spans, tmp_path: Path, request_: Any, message: str) -> None:
    """The message names what is wrong and what would be right; an existing file keeps its content."""
    target = tmp_path / "spans.csv"
    target.write_text("precious")
    given = {"format": "csv", **request_}
    with pytest.raises(ConfigurationError, match=f"(?s){message}"):
        export(spans({}), given.pop("format"), target, **given)
    assert target.read_text() == "precious"
    assert os.listdir(tmp_path) == ["spans.csv"]


@pytest.mark.parametrize("name", ["missing/x.csv", "file/x.csv", "."])
def test_a_path_that_cannot_be_written_is_named(spans: Spans, tmp_path: Path, name: str) -> None:
    """A missing folder, a file taken for a folder, a folder taken for a file."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match=re.escape(str(tmp_path / name))):
        export(spans({}), "csv", tmp_path / name)


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_failure_half_way_leaves_the_old_file(spans: Spans, tmp_path: Path, format: str) -> None:
    """Rows already written are thrown away with the temporary file; the old one is whole."""
    target = tmp_path / "spans"
    export(spans({}), format, target)
    before = target.read_bytes()
    many = pl.concat([spans(*[{}] * 300)] * 100)  # more than one batch

    def fails_late(row: dict[str, Any]) -> int:
        calls.append(1)
        return 1 // (0 if len(calls) > 20_000 else 1)

    calls: list[int] = []
    with pytest.raises(ConfigurationError, match="row 20001"):
        export(many, format, target, transformers={"x": fails_late}, columns=["name"])
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ["spans"]


def test_a_link_is_followed_and_stays(spans: Spans, tmp_path: Path) -> None:
    """What a symbolic link points to is replaced, not the link."""
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    export(spans({}), "csv", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("timestamp")


def test_rows_keep_their_order_over_many_batches(spans: Spans, tmp_path: Path) -> None:
    """25,000 rows come out in the order they went in."""
    frame = (
        pl.concat([spans({})] * 1)
        .select(pl.all().repeat_by(25_000).explode())
        .with_columns(start_ns=pl.int_range(25_000))
    )
    for format in ("jsonl", "parquet"):
        path = export(frame, format, tmp_path / format, columns=["start_ns"])
        read = pl.read_ndjson(path) if format == "jsonl" else pl.read_parquet(path)
        assert read["start_ns"].to_list() == list(range(25_000))


def test_a_default_name_says_the_format() -> None:
    """The end of the name is the format's, and the compression's."""
    assert default_name("run", "csv") == "run.csv"
    assert default_name("run", "jsonl", "gzip") == "run.jsonl.gz"
    assert default_name("run", "parquet", "gzip") == "run.parquet"


def test_a_part_named_with_a_slash_is_exported_to_a_file_name_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A condition such as a model's name is no path."""
    monkeypatch.chdir(tmp_path)
    recorder = otr.configure(store="memory:")
    try:
        with otr.experiment("models") as exp, exp.arm("openai/gpt-4o"), exp.trial(item="a"):
            pass
        written = exp.where({"condition": "openai/gpt-4o"}).export("csv")
    finally:
        recorder.close()
    assert written.parent == Path()
    assert [path.name for path in tmp_path.iterdir()] == [written.name]
