"""Texts cut after the beginning they share say what the whole texts say, whatever follows it."""

from __future__ import annotations

import json

import captures
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_research.semconv import beginnings, keys, normalise

HEAD = '{"gen_ai.operation.name":"chat","gen_ai.request.model":"a, \\"b\\": {c","gen_ai.usage.input_tokens":7,'
ODD = {
    "the usual": HEAD + '"gen_ai.tool.name":"x"}',
    "an object with the same keys": '{"x":{"gen_ai.operation.name":"chat"},"gen_ai.tool.name":"x"}',
    "a list with commas": HEAD + '"gen_ai.response.finish_reasons":["stop","length"]}',
    "the key again": HEAD + '"gen_ai.usage.input_tokens":8}',
    "a number in words": HEAD + '"gen_ai.usage.output_tokens":"9"}',
    "torn": HEAD + '"gen_ai.tool.name":"x',
    "torn at the cut": HEAD,
    "torn at once": "{",
    "another order": '{"gen_ai.tool.name":"x","gen_ai.operation.name":"chat"}',
    "letters": HEAD + '"gen_ai.tool.name":"\\u00e4 ü 你"}',
    "no more": HEAD[:-1] + "}",
    "nothing": None,
    "blank": "",
}


def whole(texts: pl.Series) -> pl.DataFrame:
    """The keys of texts that are too few to be cut."""
    assert len(texts) < beginnings._LEAST
    return keys.whole(texts)


def same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Equal; a column that the other lacks is null throughout."""
    names = sorted({*one.columns, *other.columns})
    filled = [
        frame.with_columns(pl.lit(None).alias(name) for name in names if name not in frame.columns).select(names)
        for frame in (one, other)
    ]
    return filled[0].equals(filled[1])


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "_LEAST", 1)
    monkeypatch.setattr(beginnings, "_SHARED", 2)
    monkeypatch.setattr(beginnings, "_LONG", 1)


@pytest.mark.parametrize("odd", ODD)
def test_whatever_follows_a_shared_beginning(odd: str, always: None) -> None:
    texts = pl.Series([ODD["the usual"]] * 300 + [ODD[odd]] * 3, dtype=pl.String)
    divided = beginnings.split(texts)
    assert divided is not None
    assert HEAD[:-1] + "}" in divided.heads
    cut = keys.whole(texts)
    with pytest.MonkeyPatch.context() as few:
        few.setattr(beginnings, "_LEAST", 10**9)
        assert same(cut, whole(texts))


@pytest.mark.parametrize("cut", ["torn", "long"])
def test_a_comma_in_a_string_that_is_not_closed_separates_nothing(
    cut: str, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '{"gen_ai.operation.name":"chat","gen_ai.tool.name":"one, two, three","gen_ai.usage.input_tokens":7}'
    torn = text[: text.index(" two") + 4]
    texts = pl.Series([text] * 40 + ([torn] * 40 if cut == "torn" else []))
    monkeypatch.setattr(beginnings, "_REACH", len(torn) if cut == "long" else 10**6)
    divided = beginnings.split(texts)
    assert divided is not None
    assert set(divided.heads) <= {'{"gen_ai.operation.name":"chat"}', text[: text.index(',"gen_ai.usage')] + "}"}
    assert keys.whole(texts)["@gen_ai.tool.name"].to_list() == ["one, two, three"] * 40 + [None] * (len(texts) - 40)


def test_all_captures_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.concat([captures.raw(name) for name in captures.names()]).sample(fraction=1, shuffle=True, seed=4)
    expected = normalise(rows.lazy()).collect()
    for name, value in {"_LEAST": 1, "_SHARED": 2, "_LONG": 1, "_SAMPLE": 10**6}.items():
        monkeypatch.setattr(beginnings, name, value)
    divided = beginnings.split(rows["attributes"])
    assert divided is not None
    assert divided.number.is_not_null().sum() > len(rows) / 10
    assert normalise(rows.lazy()).collect().equals(expected)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text('a", :{}[]\\é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a",', max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text('ab",:{', max_size=4), _VALUES, min_size=2, max_size=5))
def test_cut_before_any_attribute_the_object_is_the_same(row: dict[str, object]) -> None:
    text = json.dumps(row)
    begun = list(beginnings._beginnings(text))
    assert len(begun) == len(row) - 1
    for head in begun:
        first, rest = json.loads(head[:-1] + "}"), json.loads("{" + text.removeprefix(head))
        assert first | rest == row


def test_rows_that_share_nothing_are_left_alone() -> None:
    texts = pl.Series([f'{{"key {number}":"{"x" * 60}","gen_ai.tool.name":"x"}}' for number in range(5000)])
    assert beginnings.split(texts) is None
    assert keys.whole(texts)["@gen_ai.tool.name"].to_list() == ["x"] * 5000
