"""Attribute keys that nobody understood: what a new dialect, or a new version of one, looks like at first."""

from __future__ import annotations

import re

import polars as pl

from otel_research.semconv import dialects
from otel_research.semconv.attributes import row_of
from otel_research.semconv.dialects import claude_code
from otel_research.semconv.kinds import Batch

_KNOWN = tuple(sorted({begin for dialect in dialects.DIALECTS for begin in dialect.known}))
_READ = dialects.attribute_keys()
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")
_AT_ONCE = 50_000


def unmapped(frame: pl.LazyFrame) -> pl.DataFrame:
    """`key`, `rows`: every attribute key that no dialect reads or knows, the most frequent first.

    Positions in flattened lists (`x.0.y`, `x.1.y`) count as one key, `x.N.y`. Spans that no dialect explained are
    left out: their attributes are the program's own.
    """
    understood = frame.filter(pl.col("dialect").is_not_null()).select("scope", "attributes")
    counts: dict[str, int] = {}
    known: set[str] = set()
    for batch in understood.collect_batches(chunk_size=_AT_ONCE):
        for text in claude_code.told(batch["scope"], batch["attributes"]):
            for key in {_NUMBER.sub("N", key) for key in (row_of(text) or {}).keys() - known}:
                if _is_known(key):
                    known.add(key)
                else:
                    counts[key] = counts.get(key, 0) + 1
    found = pl.DataFrame(list(counts.items()), schema={"key": pl.String, "rows": pl.Int64}, orient="row")
    return found.sort("rows", "key", descending=[True, False])


_SIDE = "(?:input|output|prompt|completion|total|generated|candidates|thoughts|reasoning|cached?)"
_COUNT = rf'(?i)"[^"]{{0,60}}(?:{_SIDE}[^"]{{0,30}}tokens?|tokens?[^"]{{0,30}}{_SIDE})[^"]{{0,30}}":\s*\\?"?[1-9]'
"""A name for a count of tokens with a number after it, also in JSON inside a text."""
_LIMIT = r'(?i)"[^"]{0,60}(?:max|limit|budget|cost|price|ttl|csrf|auth)[^"]{0,60}"'
"""What a request may use at most, or what a token costs, is no count."""


def unread_counts(batch: Batch, attributes: pl.Series, events: pl.Series) -> pl.Series:
    """Rows that are nothing we know and count tokens all the same: what a model call of an unknown package looks like."""
    rows = batch.select(["role", "rollup_input_tokens", "rollup_output_tokens"])
    at = rows.select(pl.all_horizontal(pl.all().is_null())).to_series().arg_true()
    found = pl.repeat(False, len(attributes), dtype=pl.Boolean, eager=True)
    return found.scatter(at, _counting(attributes, at) | _counting(events, at))


def _counting(texts: pl.Series, at: pl.Series) -> pl.Series:
    """Which of the texts at these places hold a count of tokens."""
    told = texts.gather(at).cast(pl.String)
    near = told.str.contains_any(["oken"], ascii_case_insensitive=True).fill_null(False)
    counts = told.filter(near).str.replace_all(_LIMIT, '""').str.contains(_COUNT)
    return near.scatter(near.arg_true(), counts)


_COUNTED = ("gen_ai.usage.", "llm.token_count.", "llm.usage.", "ai.usage.")
"""Beginnings of keys that count tokens: a new one among them is never deliberately left unread."""


def _is_known(key: str) -> bool:
    return key in _READ or (key.startswith(_KNOWN) and not key.startswith(_COUNTED))
