"""Many rows are held in files and decided on in parts: the result is that of all rows at once."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import captures
import polars as pl
import pytest
from polars.io.plugins import register_io_source

from otel_research.semconv import calls, narrow, normalise, scratch, trees, twins
from otel_research.semconv.scratch import Scratch
from otel_research.spans import schema


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every capture, and once more as another package would have written it in traces of its own, in one file."""
    raw = pl.concat(captures.raw(name) for name in captures.names())
    rows = normalise(raw.lazy()).collect()
    again = rows.with_columns(
        pl.col("scope") + ".again",
        pl.concat_str(pl.lit("f"), pl.col("trace_id").str.tail(31)).alias("trace_id"),
        pl.col("start_ns") - 2_000,
        pl.col("end_ns") + 3_000,
        temperature=pl.lit(0.5),
    )
    path = tmp_path_factory.mktemp("parts") / "stored.parquet"
    pl.concat([rows, again]).write_parquet(path)
    return path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds so low that everything is in files and in many parts."""
    monkeypatch.setattr(scratch, "ROWS", 100)
    monkeypatch.setattr(trees, "AT_ONCE", 400)
    monkeypatch.setattr(twins, "AT_ONCE", 200)


@pytest.fixture(scope="module")
def whole(stored: Path) -> pl.DataFrame:
    """All rows at once."""
    return calls.mark(pl.scan_parquet(stored)).collect()


def test_there_is_something_to_decide(whole: pl.DataFrame) -> None:
    """Each reason occurs, so that a part that forgets one would show."""
    reasons = Counter(whole["excluded_because"].drop_nulls())
    assert set(reasons) >= {"wrapper", "twin", "stream_request", "stream_log", "rollup", "transport"}
    assert reasons["twin"] > 1_000
    assert whole["flags"].str.contains("filled_from_twin").sum() > 500


@pytest.mark.usefixtures("few")
def test_parts_change_nothing(stored: Path, whole: pl.DataFrame) -> None:
    """Stored rows."""
    assert calls.mark(pl.scan_parquet(stored)).collect().equals(whole)


@pytest.mark.usefixtures("few")
def test_rows_that_are_held_in_files_are_the_same(whole: pl.DataFrame) -> None:
    """Normalised in the same plan."""
    raw = pl.concat(captures.raw(name) for name in captures.names())
    at_once = calls.mark(normalise(raw.lazy()).collect().lazy()).collect()
    assert calls.mark(normalise(raw.lazy())).collect().equals(at_once)
    assert len(at_once) * 2 == len(whole)


@pytest.mark.usefixtures("few")
def test_a_part_is_what_is_read(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step about trees or twins has all rows before it."""
    sizes: dict[str, list[int]] = {"trees": [], "twins": []}
    of_part, neighbours = trees._of_part, twins._neighbours
    monkeypatch.setattr(trees, "_of_part", lambda *part: sizes["trees"].append(len(part[0])) or of_part(*part))
    monkeypatch.setattr(
        twins, "_neighbours", lambda part, *rule: sizes["twins"].append(len(part)) or neighbours(part, *rule)
    )
    calls.mark(pl.scan_parquet(stored)).collect()
    for part in sizes.values():
        assert len(part) > 5
        assert max(part) < sum(part) / 4


def test_a_source_may_tell_its_rows_in_another_order_each_time(stored: Path, whole: pl.DataFrame) -> None:
    """A table without an order: the first read and the second need not agree."""
    rows, reads = pl.read_parquet(stored), []

    def shuffled(columns: list[str] | None, predicate: pl.Expr | None, *_: object) -> Iterator[pl.DataFrame]:
        reads.append(columns)
        told = rows.sample(fraction=1, shuffle=True, seed=len(reads)).select(columns or rows.columns)
        yield told if predicate is None else told.filter(predicate)

    marked = calls.mark(register_io_source(shuffled, schema=rows.schema)).collect()
    by = ["trace_id", "span_id", "start_ns", "name", "attributes"]
    assert len(reads) > 2
    assert marked.sort(by).equals(whole.sort(by))


@pytest.mark.usefixtures("few")
def test_columns_filters_and_limits_reach_the_source(stored: Path, whole: pl.DataFrame) -> None:
    """What is asked of the marked frame is what the whole frame would answer."""
    marked = calls.mark(pl.scan_parquet(stored))
    assert marked.collect_schema() == whole.schema
    is_openai = (pl.col("provider") == "openai") & pl.col("is_call")
    assert marked.filter(is_openai).select("span_id", "backoff_ms").collect().equals(
        whole.filter(is_openai).select("span_id", "backoff_ms")
    )  # fmt: skip
    for engine in ("in-memory", "streaming"):
        first = marked.head(500).filter(is_openai).collect(engine=engine)
        assert first.equals(whole.head(500).filter(is_openai))
        assert marked.filter(is_openai).head(7).collect(engine=engine).equals(whole.filter(is_openai).head(7))
        assert marked.head(7).collect(engine=engine).equals(whole.head(7))
    assert marked.select(pl.len()).collect().item() == len(whole)
    assert marked.slice(1000, 5).select("trace_id").collect().equals(whole.slice(1000, 5).select("trace_id"))
    twice = pl.concat([marked.select("span_id"), marked.select("span_id")])
    assert len(twice.collect()) == 2 * len(whole)


@pytest.mark.usefixtures("few")
def test_a_row_that_is_there_several_times_stays_so(stored: Path, whole: pl.DataFrame) -> None:
    """As many rows as before, each with its verdict; no copy multiplies what is held."""
    once = pl.read_parquet(stored)
    rows = calls.mark(pl.concat([once, once, once]).lazy()).collect()
    assert len(rows) == 3 * len(whole)
    assert rows.tail(len(once)).equals(rows.head(len(once)))


@pytest.mark.parametrize(
    ("column", "dtype"),
    [("duration_ms", pl.Int64), ("ttft_ms", pl.Int64), ("input_tokens", pl.Int32), ("provider", pl.Categorical)],
)
def test_columns_of_other_types_become_the_contracts(stored: Path, column: str, dtype: pl.DataType) -> None:
    """Whatever is filled: the schema says before what comes."""
    marked = calls.mark(pl.scan_parquet(stored).with_columns(pl.col(column).cast(dtype, strict=False)))
    assert marked.collect().schema == marked.collect_schema()
    assert marked.collect_schema()[column] == schema.polars_schema(schema.CANONICAL)[column]


def test_the_scratch_folder_may_have_any_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Brackets are no pattern."""
    (tmp_path / "a[1]*x").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a[1]*x"))
    monkeypatch.setattr(scratch, "ROWS", 1)
    with Scratch() as held:
        assert held.hold(pl.LazyFrame({"a": [1, 2]})).collect()["a"].to_list() == [1, 2]


def test_calls_without_usage_are_not_compared_by_it(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one part, they would be held together however many they are."""
    silent = pl.scan_parquet(stored).with_columns(
        pl.lit(None, dtype=pl.Int64).alias(name) for name in ("input_tokens", "output_tokens")
    )
    sizes: dict[int, int] = {}
    neighbours = twins._neighbours
    monkeypatch.setattr(
        twins,
        "_neighbours",
        lambda part, rule, mine: sizes.update({len(rule.keys): len(part)}) or neighbours(part, rule, mine),
    )
    calls.mark(silent).collect()
    assert sizes[4] == 0  # owner, family, input and output
    assert sizes[2] > 1_000


def test_few_rows_are_held_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file is written for them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with Scratch() as held:
        assert held.hold(pl.LazyFrame({"a": [1, 2]})).collect()["a"].to_list() == [1, 2]
        assert held.hold(pl.LazyFrame({"a": [1]}).filter(pl.col("a") > 1)).collect().schema == {"a": pl.Int64()}


def test_many_rows_are_held_in_files_that_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In their order, with their types; gone at the end, also after an error."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "ROWS", 10)
    rows = pl.DataFrame({"a": range(250_000), "b": pl.Series(["x", None] * 125_000, dtype=pl.Categorical)})
    with pytest.raises(RuntimeError, match="later"), Scratch() as held:  # noqa: PT012
        assert held.hold(rows.lazy()).collect().equals(rows)
        assert list(tmp_path.iterdir())
        raise RuntimeError("later")
    assert not list(tmp_path.iterdir())


def test_many_bytes_are_held_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows with long texts are as much as many short ones."""
    monkeypatch.setattr(scratch, "BYTES", 1_000)
    with Scratch() as held:
        assert "SCAN" in held.hold(pl.LazyFrame({"a": ["x" * 2_000]})).explain()


def test_a_failure_while_rows_are_held_is_told(stored: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scratch folder that cannot be made fails the plan, and nothing is returned that is part of the result only."""
    monkeypatch.setattr(scratch, "ROWS", 10)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(Exception, match="absent"):
        calls.mark(pl.scan_parquet(stored)).collect()


def test_traces_are_dealt_out(stored: Path) -> None:
    """A trace is in one bucket, and no bucket has most of the traces."""
    buckets = pl.read_parquet(stored).select("trace_id", narrow.bucket())
    assert buckets.group_by("trace_id").agg(pl.col("bucket").n_unique())["bucket"].max() == 1
    assert buckets["bucket"].n_unique() > 200
