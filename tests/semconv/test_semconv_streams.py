"""Nothing in the plans of `normalise` and of the narrow pass waits for all rows: memory would grow with all that is read."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from otel_research.semconv import calls, filling, narrow, normalise, transport, verdicts
from otel_research.spans import schema

WAIT = {"columnar-function", "in-memory-map", "in-memory-sink", "sort"}
"""Nodes of Polars' streaming engine that begin when their input has ended."""


def nodes(plan: pl.LazyFrame) -> set[str]:
    """The kinds of nodes that the plan becomes in the streaming engine."""
    drawn = plan.show_graph(raw_output=True, engine="streaming", plan_stage="physical")
    return set(re.findall(r'label="([^"\\]+)', str(drawn)))


@pytest.fixture
def stored(tmp_path: Path) -> pl.LazyFrame:
    """A file with the columns of a store, scanned."""
    path = tmp_path / "stored.parquet"
    pl.DataFrame(schema=schema.polars_schema(schema.STORED)).write_parquet(path)
    return pl.scan_parquet(path).with_columns(narrow.identity("span_id").alias("id"))


@pytest.mark.parametrize("asked", [narrow.links(), narrow.facts(), transport.facts(), list(filling.FACTS)])
def test_what_the_narrow_pass_asks_streams(stored: pl.LazyFrame, asked: list[pl.Expr]) -> None:
    """`replace_strict` over columns did not: of 9 M rows it held 1.3 GB beside a result of 0.2 GB."""
    assert nodes(stored.with_row_index("at").filter(narrow.counts()).select(asked)) & WAIT == set()


def test_the_wide_rows_stream_past_the_decision(stored: pl.LazyFrame) -> None:
    """Also where some are left out."""
    line = {"id": 1, "start_ns": 2, "because": "twin", "keeper": 3, "keeper_start_ns": 4}
    for found in (
        verdicts.NOTHING,
        pl.concat([verdicts.NOTHING, pl.DataFrame([line], schema=verdicts.NOTHING.schema)]),
    ):
        assert nodes(calls._judged(stored, found)) & WAIT == set()


def test_normalising_streams(stored: pl.LazyFrame) -> None:
    """Batch by batch, from the file to the next one."""
    assert nodes(normalise(stored)) & WAIT == set()


def test_what_waits_is_seen(stored: pl.LazyFrame) -> None:
    """The check can fail."""
    assert nodes(stored.select("id", pl.col("role").replace_strict({"call": 1}, default=0))) & WAIT
