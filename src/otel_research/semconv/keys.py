"""Which attribute keys a batch has, and their values as text columns named `@key`.

Asking for a key that is not there costs as much as one that is, and there are some 250 names. So a part of the
batch is read with the keys that its first rows and the parts before it had. A row with more colons than values read
may have another key (`_unexplained`): those rows are searched for all other names (`search`), and what they have
is read too. Nothing is left out by guessing. What many texts begin with is read once for all of them (`beginnings`).
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
    without_blanks,
)
from otel_research.semconv.beginnings import split
from otel_research.semconv.dialect import PREFIX
from otel_research.semconv.kinds import Shared
from otel_research.semconv.search import suspects

KNOWN = dialects.attribute_keys()
LISTS = frozenset({"gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.finish_reason"})
"""Keys whose value may be a list: the first element counts."""
NUMBERS = dialects.number_keys()
_AT_ONCE = 16 * ROWS_PER_SLICE
_LOOK_AT = 32
"""Rows whose keys are read one by one, to know what to ask for."""
_FEW = 512
"""Up to so many rows that may have other keys are read one by one, too."""
_ALONG = 64
"""Up to so many other keys are read along, because they explain a row's colons."""
_PATHS = dialects.json_paths()
_PRINTED = dialects.numbers_in_text()


def read(texts: pl.Series) -> tuple[pl.DataFrame, Shared | None]:
    """A text column `@key` per known key that any row has, `@key#path` for wanted paths inside JSON values.

    What many rows begin with is apart, and in no column of the first frame. `@malformed` is true on rows that hold
    no JSON object.
    """
    ready = without_blanks(texts.cast(pl.String))
    divided = split(ready)
    if divided is None:
        return _ready(_all(ready)), None
    rest, heads = _all(divided.rest), _all(pl.Series(divided.heads)).drop(MALFORMED, strict=False)
    number = divided.number
    if MALFORMED in rest.columns:
        number = number.set(rest[MALFORMED].fill_null(False), None)
    # Of a key that is in both the first one counts, as ever.
    twice = [name for name in heads.columns if name in rest.columns]
    first = [pl.coalesce(heads[name].gather(number), rest[name]).alias(name) for name in twice]
    shared = _ready(heads.drop(twice))
    return _ready(rest.with_columns(first)), Shared(shared, number) if shared.width else None


def whole(texts: pl.Series) -> pl.DataFrame:
    """The same with all columns in one frame, a line per row."""
    rows, shared = read(texts)
    return rows if shared is None else rows.hstack(shared.by_row())


def _ready(typed: pl.DataFrame) -> pl.DataFrame:
    frame = _named(typed)
    filled = frame.select([name for name in frame.columns if frame[name].null_count() < len(frame)])
    return _with_paths(filled.with_columns(_unquoted(filled.columns))) if filled.width else filled.clear(len(typed))


def _all(texts: pl.Series) -> pl.DataFrame:
    """The keys of all rows as columns, part by part."""
    seen: set[str] = set()
    parts = [_part(part.to_series(), seen) for part in texts.to_frame().iter_slices(_AT_ONCE)]
    return stacked(parts) if parts else pl.DataFrame()


def _part(texts: pl.Series, seen: set[str]) -> pl.DataFrame:
    """The keys of some rows as columns; what they have is added to `seen`, keys that nobody wants among it."""
    if not seen:
        seen |= _keys_of(texts.head(_LOOK_AT), room=_ALONG)
    frame = _typed(texts, seen)
    others = _unexplained(texts, frame)
    if others.is_empty():
        return frame
    suspected = others if len(others) <= _FEW else suspects(others, KNOWN - seen, frozenset(seen))
    new = (_keys_of(others.head(_LOOK_AT), room=_ALONG - len(seen)) | _keys_of(suspected)) - seen
    seen |= new
    return _typed(texts, seen) if new & KNOWN else frame


def _unexplained(part: pl.Series, frame: pl.DataFrame) -> pl.Series:
    """Texts that may have other keys than the frame's: no more colons than values means that there is none.

    Values may contain colons, but none after a quote unless they are objects or print one.
    """
    values = frame.drop(MALFORMED, strict=False)
    colons = part.str.count_matches(":", literal=True).fill_null(0)
    # Every value has a colon of its own: as many in all means as many in each row.
    if colons.sum() == sum(len(value) - value.null_count() for value in values.iter_columns()):
        return part.clear()
    # Keys are anybody's words, so they are not asked for by name: "*" and "^a$" would mean several.
    counted = values.select(pl.sum_horizontal(pl.all().is_not_null())).to_series() if values.width else None
    known = pl.repeat(0, len(part), eager=True) if counted is None else counted
    rest = pl.DataFrame({"text": part, "known": known}).filter(colons != known)
    quoted = pl.col("text").str.count_matches(r'"\s*:').fill_null(0)
    return rest.filter(quoted != pl.col("known"))["text"]


def _keys_of(texts: pl.Series, room: int = 0) -> set[str]:
    """The known keys in the texts and, if there is room, the others whose value is a word or a number."""
    known, others = set(), set()
    for text in texts:
        row = row_of(text) or {}
        known |= row.keys() & KNOWN
        others |= {key for key in row.keys() - KNOWN - {MALFORMED} if room and not isinstance(row[key], (list, dict))}
    return known | (others if len(others) <= room else set())


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """The known keys as columns `@key`; of a list the first element."""
    lists = [pl.col(key).list.first() for key in frame.columns if key in LISTS]
    wanted = [key for key in frame.columns if key in KNOWN or key == MALFORMED]
    return frame.select(wanted).with_columns(lists).rename(lambda key: key if key == MALFORMED else PREFIX + key)


def _typed(texts: pl.Series, keys: set[str]) -> pl.DataFrame:
    """One column per key: counts as numbers, lists as lists, the rest as text."""
    if not keys:
        return pl.DataFrame({MALFORMED: pl.Series([None] * len(texts), dtype=pl.Boolean)})
    slices = texts.to_frame().iter_slices(ROWS_PER_SLICE)
    return stacked([_typed_slice(part.to_series(), keys) for part in slices])


def _typed_slice(part: pl.Series, keys: set[str]) -> pl.DataFrame:
    for asked in (keys, keys & KNOWN):
        if (frame := decode_plain(part, pl.Struct(_types(asked)))) is not None:
            return frame
    # A number written as text ("57", 'True') makes the typed way refuse.
    words: dict[str, pl.DataType] = dict.fromkeys(keys & NUMBERS, pl.String())
    frame = decode(part, pl.Struct(_types(keys & KNOWN) | words))
    return frame.with_columns(pl.col(sorted(words)).cast(pl.Float64, strict=False))


def _types(keys: set[str]) -> dict[str, pl.DataType]:
    lists = pl.List(pl.String())
    return {key: lists if key in LISTS else pl.Float64() if key in NUMBERS else pl.String() for key in sorted(keys)}


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
