"""Filters reach PostgreSQL as SQL: fewer rows come over, and the same ones are left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest

from otel_research.store import postgres
from otel_research.store.postgres import PostgresStore
from otel_research.store.pushdown import condition
from otel_research.testing import batch, rows

_TEXTS = ["a", "b", None, "", "it's", "back\\slash", "n\0ul", "n\N{SYMBOL FOR NULL}ul", "ä", "%s", 'qu"ote']
_TRACES = ["ab" * 16, "AB" * 16, "no id", "cd" * 16]
_FLOATS = [1.0, -0.0, math.nan, None, 2.5, math.inf, 1e-300]
START = 1_700_000_000_000_000_000
ROWS = 220


def given() -> pl.DataFrame:
    """Rows in which every odd value meets every other."""
    made = rows(ROWS)
    numbers = range(ROWS)
    return made.with_columns(
        condition=pl.Series([_TEXTS[number % len(_TEXTS)] for number in numbers], dtype=pl.String),
        trace_id=pl.Series([_TRACES[number % len(_TRACES)] for number in numbers]),
        sample_weight=pl.Series([_FLOATS[number % len(_FLOATS)] for number in numbers], dtype=pl.Float64),
        start_ns=pl.Series([None if number % 50 == 49 else START + number for number in numbers], dtype=pl.Int64),
        status=pl.Series(["ok" if number % 3 else "error" for number in numbers]),
    )


@pytest.fixture(scope="module")
def store(postgres_server: Any) -> Iterator[PostgresStore]:
    from tests.conftest import new_database

    opened = PostgresStore(new_database(postgres_server))
    opened.append(batch(given()))
    yield opened
    opened.close()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows came over, of each part."""
    counts: list[int] = []
    read = postgres.from_csv

    def counting(messages: list[bytes], columns: list[str]) -> pl.DataFrame:
        counts.append(len(messages))
        return read(messages, columns)

    monkeypatch.setattr(postgres, "from_csv", counting)
    return counts


def _is_short(text: str) -> bool:
    return len(text) < 2


c = pl.col
EXACT: list[pl.Expr] = [
    *(c("condition") == text for text in _TEXTS if text is not None and "ul" not in text),
    *(c("trace_id") == trace for trace in _TRACES),
    c("trace_id").is_in([_TRACES[0], _TRACES[2]]),
    c("trace_id") != _TRACES[0],
    pl.lit("a") == c("condition"),
    c("condition") != "a",
    ~(c("condition") == "it's"),
    c("condition").is_in(["a", "it's", None]),
    c("condition").is_in(pl.Series(["b"]).implode()),
    c("condition").is_null(),
    c("condition").eq_missing(None),  # which Polars writes as the same
    c("condition").is_not_null() & (c("status") == "error"),
    c("start_ns") >= START + 100,
    pl.lit(START + 5) > c("start_ns"),
    c("start_ns").is_between(START + 10, START + 20),
    c("start_ns").is_between(START + 10, START + 20, closed="none"),
    (c("start_ns") >= START + 10) & (c("start_ns") < START + 20) & (c("condition") == "a"),
    (c("condition") == "a") | c("condition").is_in(["b"]),
    c("start_ns").is_null(),
    c("sample_weight") > 1.5,
    c("sample_weight") == 0.0,
    c("sample_weight") <= 1.0,
]
"""Understood whole: no row comes over that the filter would leave out."""

PARTLY: list[pl.Expr] = [
    c("condition") == "n\0ul",
    c("condition") == "n\N{SYMBOL FOR NULL}ul",
    (c("status") == "error") & c("condition").str.contains("a"),
    (c("status") == "error") & c("condition").map_elements(_is_short, return_dtype=pl.Boolean),
]
"""Something of it is understood: fewer rows than there are."""

NOT: list[pl.Expr] = [
    c("condition") != "n\0ul",
    c("condition") != "n\N{SYMBOL FOR NULL}ul",
    c("condition") > "a",
    c("condition").is_in(["a", None], nulls_equal=True),
    (c("status") == "error") | c("condition").str.contains("a"),
    c("start_ns") > START + 1.5,
    c("sample_weight").is_nan(),
    c("sample_weight") >= math.nan,
    (c("condition") == "a").fill_null(True),
    c("condition") == c("status"),
]
"""What databases answer differently, or no shape that we know: all rows come over."""


@pytest.mark.parametrize("predicate", [*EXACT, *PARTLY, *NOT], ids=str)
def test_the_same_rows_are_left(store: PostgresStore, predicate: pl.Expr) -> None:
    """Whatever of a filter the database answers, the result is that of Polars alone."""
    chosen = ["span_id", "condition", "trace_id", "start_ns", "sample_weight", "status"]
    found = store.scan("e" * 32).filter(predicate).select(chosen).sort("span_id").collect()
    expected = given().filter(predicate).select(chosen).sort("span_id")
    assert found.equals(expected), (found, expected)


@pytest.mark.parametrize(
    ("predicates", "is_as_told"),
    [
        (EXACT, lambda came, left: came == left),
        (PARTLY, lambda came, left: left <= came < ROWS),
        (NOT, lambda came, left: came == ROWS),
    ],
    ids=["exact", "partly", "not"],
)
def test_fewer_rows_come_over(
    store: PostgresStore,
    fetched: list[int],
    predicates: list[pl.Expr],
    is_as_told: Callable[[int, int], bool],
) -> None:
    """Of what is understood only the rows that are asked for."""
    for predicate in predicates:
        fetched.clear()
        left = store.scan("e" * 32).filter(predicate).select("span_id").collect().height
        assert is_as_told(sum(fetched), left), (predicate, sum(fetched), left)


def test_a_time_range_reads_only_its_months(store: PostgresStore, fetched: list[int]) -> None:
    """The tables are partitioned by start: the plan of a range names one of them."""
    told = condition(c("start_ns").is_between(START, START + 9), repr)
    with store._database.reading() as connection:
        plan = connection.execute(f"EXPLAIN SELECT name FROM spans WHERE {told}".encode()).fetchall()
    scans = [line for (line,) in plan if " on spans" in line]
    assert len(scans) == 1
    assert "spans_2023_11" in scans[0]


def test_a_limit_after_a_filter_counts_what_is_left(store: PostgresStore) -> None:
    """The limit is not the database's where the filter is not wholly."""
    query = store.scan("e" * 32).filter(c("condition").str.contains("a"), c("status") == "ok").head(3)
    assert query.collect().height == 3


def test_a_float_is_not_asked_of_an_integer_column() -> None:
    """Polars compares both as floats, the database exactly: beyond 2**53 it would leave out what Polars finds."""
    near = float(START)
    frame = pl.DataFrame({"start_ns": [START + 1]})
    assert frame.filter(c("start_ns") == near).height == 1
    assert condition(c("start_ns") == near, repr) is None
    assert condition(c("start_ns").is_in([near]), repr) is None
    assert condition(c("start_ns") == START, repr) is not None
    assert condition(c("sample_weight") == near, repr) is not None
