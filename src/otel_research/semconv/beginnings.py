"""Attribute texts without the beginning that many of them share: that is parsed once, not once per row.

An instrumentation writes a call's attributes in one order, and the first of them (operation, provider, model, settings)
are the same from call to call. JSON is read from left to right: two texts that begin with the same bytes, up to a comma
between two attributes, have the same attributes up to there, whatever follows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

_SAMPLE = 128
"""Texts that are looked at to find the beginnings."""
_SHARED = 8
"""A beginning is worth its while where so many of the sample have it,"""
_LONG = 48
"""and where it is so many characters long."""
_MOST = 8
"""Each beginning is looked for in every text."""
_LEAST = 4096
"""Below so many rows finding beginnings costs more than it saves."""
_REACH = 2048
"""Beginnings are looked for in so many characters of a text."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},"]')


@dataclass(frozen=True)
class Split:
    """`rest` is a JSON object per row; `number` says which of the objects in `heads` comes before it, null for none."""

    heads: list[str]
    number: pl.Series
    rest: pl.Series


def split(texts: pl.Series) -> Split | None:
    """The texts cut after the beginning they share with others; None where it is not worth it."""
    heads = _shared(texts) if len(texts) >= _LEAST else []
    if not heads:
        return None
    text = pl.col("text")
    number = pl.coalesce(pl.when(text.str.starts_with(head)).then(at) for at, head in enumerate(heads))
    frame = texts.alias("text").to_frame().with_columns(number.cast(pl.UInt32).alias("number"))
    head = pl.lit(pl.Series(heads)).gather(pl.col("number"))
    cut = pl.concat_str(pl.lit("{"), text.str.strip_prefix(head))
    rest = frame.select(pl.coalesce(cut, text)).to_series()
    return Split([head[:-1] + "}" for head in heads], frame["number"], rest.rename(texts.name))


def _shared(texts: pl.Series) -> list[str]:
    """The longest beginnings that several texts of the sample have, the longest first."""
    sample = texts.gather_every(max(1, len(texts) // _SAMPLE | 1)).drop_nulls().to_list()
    begun = [list(_beginnings(text)) for text in sample]
    count = Counter(beginning for each in begun for beginning in each)
    longest = Counter(max((one for one in each if count[one] >= _SHARED), key=len, default="") for each in begun)
    kept = [head for head, _ in longest.most_common(_MOST + 1) if len(head) >= _LONG]
    return sorted(kept[:_MOST], key=len, reverse=True)


def _beginnings(text: str) -> Iterator[str]:
    """What precedes each attribute but the first, comma included."""
    depth = 0
    for token in _TOKEN.finditer(text, 0, _REACH):
        sign = token.group()
        if sign == '"':  # A string that is not closed, here at least: its commas separate nothing.
            return
        depth += (sign in "{[") - (sign in "]}")
        if sign == "," and depth == 1:
            yield text[: token.end()]
