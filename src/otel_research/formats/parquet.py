"""Parquet: the columns of `spans()` with their types; streamed by Polars' own sink."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, cast

import polars as pl

from otel_research.formats import flat, rows
from otel_research.formats.table import Table
from otel_research.spans import values

if TYPE_CHECKING:
    from polars._typing import ParquetCompression

COMPRESSIONS = ("zstd", "snappy", "lz4", "gzip", "brotli", "uncompressed")
_ROW_GROUP = 50_000
"""Rows per row group: with prompts in them, some 100 MB at once."""


def write(table: Table, file: IO[bytes], compression: str | None) -> None:
    """Write the table; the default compression is zstd."""
    compression = compression or "zstd"
    if table.functions:
        _write_computed(table, file, compression)
        return
    frame = table.frame
    if table.attributes:
        kinds = flat.attribute_kinds(frame)
        names = {key: name for name, key in _keys(table, kinds).items()}
        frame = flat.with_attributes(frame, names, kinds)
    frame.select(table.columns).sink_parquet(
        file, compression=cast("ParquetCompression", compression), row_group_size=_ROW_GROUP, maintain_order=True
    )


def _keys(table: Table, kinds: dict[str, flat.Kind]) -> dict[str, str]:
    """Column name -> attribute key."""
    return {name: name if name in kinds else name.removeprefix(flat.PREFIX) for name in table.attributes}


def _write_computed(table: Table, file: IO[bytes], compression: str) -> None:
    """Where Python functions make columns, their types are known only after every row was computed once."""
    import pyarrow.parquet as pq

    seen: dict[str, set[str]] = {name: set() for name in (*table.functions, *table.attributes)}
    for piece in rows.read(table, {}):
        for name, kinds in seen.items():
            kinds |= flat.kinds_of(_stored(piece.made[name]))
    found = {name: flat.common(kinds) for name, kinds in seen.items()}
    types = table.frame.collect_schema()
    schema = pl.Schema({n: flat.DTYPES[found[n]] if n in found else types[n] for n in table.columns})
    arrow = pl.DataFrame(schema=schema).to_arrow().schema
    with pq.ParquetWriter(file, arrow, compression="none" if compression == "uncompressed" else compression) as writer:
        for group in _groups(_typed(table, schema, found)):
            writer.write_table(group.to_arrow())


def _typed(table: Table, schema: pl.Schema, found: dict[str, flat.Kind]) -> Iterator[pl.DataFrame]:
    for piece in rows.read(table, {}):
        made = [flat.column(name, _stored(piece.made[name]), kind) for name, kind in found.items()]
        yield piece.frame.drop(found, strict=False).with_columns(made).select(schema.names())


def _groups(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Frames gathered into row groups of a useful size."""
    waiting: list[pl.DataFrame] = []
    for frame in frames:
        waiting.append(frame)
        if sum(part.height for part in waiting) >= _ROW_GROUP:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _stored(column: list[Any]) -> list[Any]:
    """A function's results in terms that JSON holds; attribute values are so already."""
    return [
        value if isinstance(value, (str, int, float, dict)) else values.tagged(value, top=False) for value in column
    ]
