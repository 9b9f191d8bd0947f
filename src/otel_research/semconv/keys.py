"""Which attribute keys a batch has, and their values as text columns named `@key`.

Asking for a key that is not there costs as much as one that is, and there are some 250 names. So each slice
is read with the keys that its first rows and the slices before it had, after a search of the whole slice for
all other names (`search`): a row that has one of those adds its keys. Nothing is left out by guessing.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from otel_research.semconv import dialects
from otel_research.semconv.attributes import (
    MALFORMED,
    ROWS_PER_SLICE,
    at,
    decode,
    decode_plain,
    row_of,
    stacked,
    struct_of,
)
from otel_research.semconv.dialect import PREFIX
from otel_research.semconv.search import suspects

KNOWN = dialects.attribute_keys()
LISTS = frozenset({"gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.finish_reason"})
"""Keys whose value may be a list: the first element counts."""
NUMBERS = dialects.number_keys()
_LOOK_AT = 32
"""Rows at the head of a slice whose keys are read one by one."""
_FEW = 512
"""Slices up to this many rows are read one by one throughout."""
_PATHS = dialects.json_paths()
_PRINTED = dialects.numbers_in_text()


def read(texts: pl.Series) -> pl.DataFrame:
    """A text column `@key` per known key that any row has, `@key#path` for wanted paths inside JSON values.

    `@malformed` is true on rows that hold no JSON object.
    """
    seen: set[str] = set()
    slices = []
    for start in range(0, len(texts), ROWS_PER_SLICE):
        part = texts.slice(start, ROWS_PER_SLICE)
        seen |= _new_keys(part, seen)
        slices.append(_columns(part, seen))
    frame = stacked(slices) if slices else pl.DataFrame()
    filled = frame.select([name for name in frame.columns if frame[name].null_count() < len(frame)])
    return _with_paths(filled.with_columns(_unquoted(filled.columns))) if filled.width else filled.clear(len(texts))


def _new_keys(part: pl.Series, seen: set[str]) -> set[str]:
    """Known keys of the slice that are not in `seen`."""
    first = part.head(_LOOK_AT if len(part) > _FEW else len(part))
    usual = _keys_in(first)
    found = (usual & KNOWN) - seen
    if len(first) == len(part):
        return found
    return found | (_keys_in(suspects(part, KNOWN - seen - found, frozenset(usual | seen))) & KNOWN)


def _keys_in(texts: Iterable[str | None]) -> set[str]:
    keys: set[str] = set()
    for text in texts:
        keys.update(row_of(text) or ())
    return keys


def _columns(part: pl.Series, wanted: set[str]) -> pl.DataFrame:
    """The wanted keys of one slice: counts as numbers, the rest as text."""
    if not wanted:
        return pl.DataFrame({MALFORMED: pl.Series([None] * len(part), dtype=pl.Boolean)})
    frame = _typed(part, wanted).with_columns(pl.col(sorted(wanted & LISTS)).list.first())
    return frame.rename({key: PREFIX + key for key in wanted})


def _typed(part: pl.Series, wanted: set[str]) -> pl.DataFrame:
    texts = {key: pl.List(pl.String()) if key in LISTS else pl.String() for key in sorted(wanted)}
    numbers = {key: pl.Float64() for key in sorted(wanted & NUMBERS)}
    if numbers and (frame := decode_plain(part, pl.Struct({**texts, **numbers}))) is not None:
        return frame
    # A number written as text ("57", 'True') makes the typed way refuse.
    return decode(part, pl.Struct(texts)).with_columns(pl.col(list(numbers)).cast(pl.Float64, strict=False))


def _unquoted(columns: Iterable[str]) -> list[pl.Expr]:
    quoted = [name for name in columns if name.removeprefix(PREFIX) in dialects.QUOTED]
    return [pl.col(name).str.strip_prefix('"').str.strip_suffix('"') for name in quoted]


def _with_paths(frame: pl.DataFrame) -> pl.DataFrame:
    for key, paths in _PATHS.items():
        if PREFIX + key in frame.columns:
            frame = frame.hstack(_inside(frame[PREFIX + key], key, paths))
    for key, wanted in _PRINTED.items():
        if PREFIX + key in frame.columns:
            frame = frame.with_columns(
                pl.col(PREFIX + key).str.extract(rf"'{word}': (\d+)").alias(f"{PREFIX}{key}~{word}") for word in wanted
            )
    return frame


def _inside(texts: pl.Series, key: str, paths: tuple[str, ...]) -> list[pl.Series]:
    """The wanted paths of one JSON attribute; what is not a JSON object (a Python repr, plain text) gives nulls."""
    objects = texts.set(~texts.str.starts_with("{").fill_null(False), None)
    values = decode(objects, struct_of(paths)).select(at(path).alias(f"{PREFIX}{key}#{path}") for path in paths)
    return [column for column in values.iter_columns() if column.null_count() < len(column)]
