"""`export`: spans to a file, checked first, streamed, and complete or not there at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from otel_research.errors import ConfigurationError
from otel_research.formats import csv, jsonl, parquet
from otel_research.formats.output import appearing, compressed
from otel_research.formats.table import LEADING, Transformer, prepare
from otel_research.spans.where import Where, predicate, suggest

if TYPE_CHECKING:
    import polars as pl


class Format(NamedTuple):
    """One format: its default columns, what it can be compressed with and the end of its file names."""

    columns: tuple[str, ...] | None
    """None: those of the frame, which are the ones of `spans()`."""
    compressions: tuple[str, ...]
    suffix: str


_STREAM = ("gzip", "uncompressed")
FORMATS: dict[str, Format] = {
    "csv": Format(LEADING, _STREAM, ".csv"),
    "jsonl": Format((*LEADING, *jsonl.OBJECTS), _STREAM, ".jsonl"),
    "parquet": Format(None, parquet.COMPRESSIONS, ".parquet"),
    "otlp": Format(None, _STREAM, ".otlp.jsonl"),
}


class OfExport(TypedDict, total=False):
    """Options of `export`, for what hands them on."""

    columns: Sequence[str] | None
    transformers: Mapping[str, Transformer] | None
    compression: str | None
    where: Where | None


def export(
    frame: pl.LazyFrame,
    format: str,
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    transformers: Mapping[str, Transformer] | None = None,
    compression: str | None = None,
    where: Where | None = None,
) -> Path:
    """Write the spans of `frame` (columns `spans.schema.ALL`) to `path` and return it.

    `format`: "csv" (flat: the leading columns, then one per attribute key), "jsonl" (the
    leading columns, then attributes, events and links as objects), "parquet" (the columns
    of `spans()`) or "otlp" (OTLP JSON lines; takes no `columns` or `transformers`).
    `columns`: names of leading columns, of columns of `spans()` or of attribute keys
    (`attr.<key>` where a column has the same name), in the order wanted.
    `transformers`: {column: Polars expression | function of the row as a dict}; a new name
    is appended, an existing one replaced. The row holds every column of `spans()`, the
    leading columns and the attributes by key. Expressions stream; functions run per row,
    for Parquet twice (first for the types). `compression`: "gzip" for text formats; zstd
    (default), snappy, lz4, gzip, brotli or uncompressed for Parquet.
    `where`: an expression, or {column: value | list of values | None for missing}.

    Rows keep the frame's order; memory does not grow with their number. The file appears
    under its name when it is complete; after any failure an existing one is untouched.
    Raises `ConfigurationError` naming the format, path, column or transformer that is wrong.
    """
    made = _format(format)
    _check_compression(format, made, compression)
    target = Path(path)
    if format == "otlp":
        return _export_otlp(frame, target, columns, transformers, compression, where)
    table = prepare(
        frame,
        made.columns or frame.collect_schema().names(),
        columns=columns,
        transformers=transformers,
        where=where,
        all_attributes=format == "csv",
    )
    writer = {"csv": csv.write, "jsonl": jsonl.write, "parquet": parquet.write}[format]
    with appearing(target) as file:
        writer(table, file, compression)
    return target


def default_name(stem: str, format: str, compression: str | None = None) -> str:
    """A file name for an export nobody named: `<stem>.csv`, `<stem>.jsonl.gz`, ..."""
    ending = ".gz" if compression == "gzip" and format != "parquet" else ""
    return f"{stem}{_format(format).suffix}{ending}"


def _format(format: str) -> Format:
    if format not in FORMATS:
        raise ConfigurationError(f"there is no export format {format!r}.{suggest(str(format), FORMATS)}")
    return FORMATS[format]


def _check_compression(format: str, made: Format, compression: str | None) -> None:
    if compression is not None and compression not in made.compressions:
        raise ConfigurationError(
            f"{format} cannot be compressed with {compression!r}; possible: {', '.join(made.compressions)}."
        )


def _export_otlp(
    frame: pl.LazyFrame,
    target: Path,
    columns: Sequence[str] | None,
    transformers: Mapping[str, Transformer] | None,
    compression: str | None,
    where: Where | None,
) -> Path:
    """OTLP has a fixed shape, so it takes a filter but neither columns nor transformers."""
    if columns is not None or transformers is not None:
        raise ConfigurationError("otlp has a fixed shape: it takes `where`, but no `columns` and no `transformers`.")
    from otel_research.formats import otlp

    rows = frame if where is None else frame.filter(predicate(where, frame))
    with appearing(target) as file, compressed(file, compression) as stream:
        otlp.write(rows, stream)
    return target
