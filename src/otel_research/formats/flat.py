"""Attributes as columns: which keys there are, of which type, and a frame with one column each.

`attributes` is JSON text with every key a span carried. Columns need the keys first, so
flattening reads the frame twice: once for the keys and their types (streaming, only
`attributes`), once for the values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
import polars as pl

from otel_research.errors import StoreError
from otel_research.spans import values

PREFIX = "attr."
CHUNK = 10_000
"""Rows in memory at once: some megabytes for spans with prompts."""

Kind = Literal["bool", "int", "float", "text", "json"]
"""What a column of attribute values holds; "json" (JSON text) is for all that share no simpler type."""
DTYPES: dict[str, pl.DataType] = {
    "bool": pl.Boolean(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "text": pl.String(),
    "json": pl.String(),
}
_INT64 = range(-(2**63), 2**63)
_EXACT = 2**53
"""Whole numbers beyond this change when they become floats."""
MALFORMED = "$malformed"
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def flatten(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with one column `attr.<key>` per attribute key, after the others.

    A key whose values are all text, all whole numbers, all numbers or all booleans gets
    that type. Every other key (lists, mappings, mixed types) becomes JSON text. The keys
    are those present now; call it again for those that a running experiment adds later.
    """
    kinds = attribute_kinds(frame)
    return with_attributes(frame, {key: PREFIX + key for key in kinds}, kinds)


def with_attributes(frame: pl.LazyFrame, names: Mapping[str, str], kinds: Mapping[str, Kind]) -> pl.LazyFrame:
    """The frame with the attributes `names` ({key: column name}) as columns of the given kinds."""
    if not names:
        return frame
    fields = pl.Struct([pl.Field(name, DTYPES[kinds[key]]) for key, name in names.items()])

    def columns(texts: pl.Series) -> pl.Series:
        found = _found(texts, names)
        filled = [column(name, found[key], kinds[key]) for key, name in names.items()]
        return pl.DataFrame(filled).to_struct("$flat")

    packed = pl.col("attributes").map_batches(columns, return_dtype=fields, is_elementwise=True).alias("$flat")
    return frame.with_columns(packed).unnest("$flat")


def _found(texts: pl.Series, keys: Mapping[str, str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {key: [None] * len(texts) for key in keys}
    for number, text in enumerate(texts):
        for key, value in decode(text).items():
            if key in found:
                found[key][number] = value
    return found


def attribute_kinds(frame: pl.LazyFrame) -> dict[str, Kind]:
    """Every attribute key and what its values have in common, sorted by key."""
    seen: dict[str, set[str]] = {}
    for batch in batches(frame.select("attributes")):
        for text in batch["attributes"]:
            for key, value in decode(text).items():
                seen.setdefault(key, set()).add(_kind(value))
    return {key: common(kinds) for key, kinds in sorted(seen.items())}


def attribute_keys(frame: pl.LazyFrame) -> list[str]:
    """Every attribute key, sorted."""
    keys: set[str] = set()
    for batch in batches(frame.select("attributes")):
        for text in batch["attributes"]:
            keys.update(decode(text))
    return sorted(keys)


def batches(frame: pl.LazyFrame, rows: int = CHUNK) -> Iterator[pl.DataFrame]:
    """The frame in order, at most `rows` rows at a time; memory does not grow with its length."""
    for batch in frame.collect_batches(chunk_size=rows, maintain_order=True):
        # The engine takes chunk_size as a wish: a source may hand over larger pieces.
        yield from batch.iter_slices(rows)


def decode(text: str | None) -> dict[str, Any]:
    """One row's attributes as stored (see `spans.values` for the tagged ones).

    Text that is no JSON object comes back whole under the key "$malformed": a damaged row
    is visible, and costs neither its neighbours nor the file.
    """
    if not text:
        return {}
    try:
        row = _loads(text)
    except (ValueError, RecursionError):
        row = None
    # A bare NaN is read as a tagged object too, so the text decides.
    return row if isinstance(row, dict) and text.lstrip().startswith("{") else {MALFORMED: text}


def parsed(text: str) -> Any:
    """Any stored JSON; text that is none comes back as {"$malformed": text}."""
    try:
        return _loads(text)
    except (ValueError, RecursionError):
        return {MALFORMED: text}


def _loads(text: str) -> Any:
    """The JSON value; what Python writes beyond the standard (NaN, Infinity) is read and tagged."""
    try:
        return _decode(text)
    except msgspec.MsgspecError:
        return values.tagged(json.loads(text))


def kinds_of(column: list[Any]) -> set[str]:
    """The kinds that occur in a list of values, for `common`."""
    return {_kind(value) for value in column}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if abs(value) <= _EXACT else "long" if value in _INT64 else "json"
    if isinstance(value, float) or (isinstance(value, dict) and value.keys() == {"$float"}):
        return "float"
    return "json"


def common(kinds: set[str]) -> Kind:
    """The kind that holds all of these without loss."""
    kinds = kinds - {"null"}
    if kinds == {"bool"}:
        return "bool"
    if kinds and kinds <= {"int", "long"}:
        return "int"
    if kinds and kinds <= {"int", "float"}:
        return "float"
    return "text" if kinds <= {"text"} else "json"


def column(name: str, found: list[Any], kind: Kind) -> pl.Series:
    """The values as a column of that kind; `StoreError` where one does not fit."""
    if kind == "json":
        return pl.Series(name, [None if value is None else json_text(value) for value in found], dtype=pl.String())
    if kind == "float":
        found = [float(plain(value)) if _kind(value) in ("int", "float") else value for value in found]
    try:
        return pl.Series(name, found, dtype=DTYPES[kind], strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise StoreError(
            f"the values of {name!r} changed their type while they were read: the experiment is still running. "
            "Ask again, or stop it first."
        ) from error


def plain(value: Any) -> Any:
    """A stored value as Python's own."""
    return values.untagged(value, top=False) if isinstance(value, (dict, list)) else value


def json_text(value: Any) -> str:
    """JSON text of a value, stored or Python's own."""
    try:
        return _encode(value).decode()
    except (TypeError, ValueError):
        return _encode(values.tagged(value, top=False)).decode()
