"""`spans(flatten=True)`: attributes as typed columns."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from otel_research.formats import flatten
from otel_research.spans import schema

Spans = Callable[..., pl.LazyFrame]


def test_every_key_is_a_column_after_the_others(spans: Spans) -> None:
    """`attr.<key>` for each key, sorted, and the columns of spans() stay."""
    frame = flatten(spans({"attributes": {"b": 1}}, {"attributes": {"a": "x"}}))
    assert frame.collect_schema().names() == [*schema.names(schema.ALL), "attr.a", "attr.b"]
    assert frame.select("attr.a", "attr.b").collect().rows() == [(None, 1), ("x", None)]


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        ([1, 2], pl.Int64, [1, 2]),
        ([1, 2**63 - 1], pl.Int64, [1, 2**63 - 1]),
        ([1, 0.5], pl.Float64, [1.0, 0.5]),
        ([0.5, float("inf")], pl.Float64, [0.5, float("inf")]),
        ([True, False], pl.Boolean, [True, False]),
        (["a", ""], pl.String, ["a", ""]),
        (["a", 1], pl.String, ['"a"', "1"]),
        ([True, 1], pl.String, ["true", "1"]),
        ([[1], [2]], pl.String, ["[1]", "[2]"]),
        ([0.5, 2**62 + 1], pl.String, ["0.5", str(2**62 + 1)]),
        ([1, None], pl.Int64, [1, None]),
    ],
)
def test_a_column_has_the_type_its_values_share(
    spans: Spans, given: list[object], dtype: type[pl.DataType], expected: list[object]
) -> None:
    """One type where all values have it without loss; JSON text where they do not."""
    frame = flatten(spans(*[{"attributes": {"k": value}} for value in given]))
    assert frame.collect_schema()["attr.k"] == dtype
    assert frame.collect()["attr.k"].to_list() == expected


def test_a_span_without_attributes_is_a_row_of_nulls(spans: Spans) -> None:
    """No attributes at all is no error, and a frame without any key is left as it is."""
    assert flatten(spans({"attributes": {}})).collect().columns == schema.names(schema.ALL)


@pytest.mark.parametrize("text", ["[1]", '{"a', "NaN"])
def test_a_row_that_is_no_json_object_stays_visible(spans: Spans, text: str) -> None:
    """Damage has a column of its own, with the text as it was."""
    frame = pl.concat([spans({}), spans({}).with_columns(attributes=pl.lit(text))])
    assert flatten(frame).collect()["attr.$malformed"].to_list() == [None, text]


def test_python_s_own_nan_is_read(spans: Spans) -> None:
    """A foreign store may hold what Python's json module writes."""
    column = flatten(spans({}).with_columns(attributes=pl.lit('{"a": NaN, "b": 1}'))).collect()
    assert column["attr.a"].is_nan().all()
    assert column["attr.b"].to_list() == [1]
