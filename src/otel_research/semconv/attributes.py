"""JSON text -> columns: the attributes of many spans at once, fast where they are ordinary and exact where not.

The fast way is one `json_decode` per few thousand rows with a struct of the wanted keys as text
(rows in small slices: large buffers cost more in page faults than the parsing does). It refuses a whole
slice for one odd value (a map where text is wanted, a torn line), so such a slice is read again row by row:
a malformed row becomes nulls and is counted, its neighbours keep theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import polars as pl

ROWS_PER_SLICE = 1024
_EMPTY = "{}"
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


MALFORMED = "@malformed"
"""A column that `decode` adds where it met rows that are not JSON objects; true for those."""


def decode(texts: pl.Series, dtype: pl.Struct) -> pl.DataFrame:
    """One column per field of `dtype`; null where the key is absent or the row is not a JSON object."""
    if texts.is_empty():
        return pl.DataFrame(schema={field.name: field.dtype for field in dtype.fields})
    parts = without_blanks(texts).to_frame().iter_slices(ROWS_PER_SLICE)
    return stacked([_decode_slice(part.to_series(), dtype) for part in parts])


def stacked(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """The frames one below the other; a column that one of them lacks is null there."""
    return pl.concat(frames, how="diagonal", rechunk=False) if len(frames) > 1 else frames[0]


def row_of(text: str | None) -> dict[str, Any] | None:
    """The object in `text`; None where there is none. Accepts what Python writes (NaN, Infinity)."""
    if not text:
        return None
    try:
        value = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def without_blanks(texts: pl.Series) -> pl.Series:
    """An empty text makes `json_decode` skip the row and shift the rest, so it becomes an empty object."""
    blank = texts.str.len_bytes() == 0
    if texts.null_count() or blank.any():
        texts = pl.select(pl.when(blank.fill_null(True)).then(pl.lit(_EMPTY)).otherwise(texts)).to_series()
    return texts.rename("json")


def decode_plain(texts: pl.Series, dtype: pl.Struct) -> pl.DataFrame | None:
    """The same for one slice of ordinary rows, none of them blank; None where any value is not of the wanted type."""
    try:
        rows = texts.str.json_decode(dtype)
    except (pl.exceptions.PolarsError, IndexError):
        return None
    return rows.struct.unnest() if len(rows) == len(texts) else None


def _decode_slice(texts: pl.Series, dtype: pl.Struct) -> pl.DataFrame:
    plain = decode_plain(texts, dtype)
    return plain if plain is not None else _row_by_row(texts, dtype)


def _row_by_row(texts: Iterable[str | None], dtype: pl.Struct) -> pl.DataFrame:
    found = [row_of(text) for text in texts]
    rows = [row or {} for row in found]
    columns = {
        field.name: pl.Series(field.name, [_as(row.get(field.name), field.dtype) for row in rows], dtype=field.dtype)
        for field in dtype.fields
    }
    broken = [row is None for row in found]
    return pl.DataFrame({**columns, **({MALFORMED: broken} if any(broken) else {})})


def _as(value: Any, dtype: Any) -> Any:
    """The value as the wanted type; what does not fit becomes JSON text (for text) or null."""
    if value is None:
        return None
    if isinstance(dtype, pl.Struct):
        return {f.name: _as(value.get(f.name), f.dtype) for f in dtype.fields} if isinstance(value, dict) else None
    if isinstance(dtype, pl.List):
        inner: Any = dtype.inner
        return [_as(item, inner) for item in (value if isinstance(value, list) else [value])]
    return as_text(value)


def as_text(value: Any) -> str:
    """Text as it is, everything else as JSON."""
    return value if isinstance(value, str) else _encode(value).decode()


def struct_of(paths: Iterable[str]) -> pl.Struct:
    """The struct that holds the dotted `paths`; a `0` step is the first element of a list."""
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for step in path.split("."):
            node = node.setdefault(step, {})
    dtype = _dtype(tree)
    assert isinstance(dtype, pl.Struct)
    return dtype


def _dtype(tree: Mapping[str, Any]) -> Any:
    if not tree:
        return pl.String()
    if set(tree) == {"0"}:
        return pl.List(_dtype(tree["0"]))
    return pl.Struct({step: _dtype(below) for step, below in tree.items()})


def at(path: str) -> pl.Expr:
    """The value at a dotted path of a frame that `decode` made with `struct_of`."""
    first, *rest = path.split(".")
    value = pl.col(first)
    for step in rest:
        value = value.list.get(0, null_on_oob=True) if step == "0" else value.struct.field(step)
    return value
