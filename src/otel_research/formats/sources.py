"""Read what `otel-research import` is given: OTLP, or the export of another tool, told apart by its content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import polars as pl

from otel_research.formats import inspect_log, mlflow, phoenix
from otel_research.formats.input import Peekable
from otel_research.formats.otlp_read import BATCH, OnSkip, Skipped, opened, otlp_rows, rows
from otel_research.formats.otlp_rows import Row, batches

__all__ = ["Skipped", "read_frames"]

_ZIP = b"PK\x03\x04"
_PARQUET = b"PAR1"
# Each has `is_document(document)` and `rows(document)`, which gives rows, and text for what it cannot read.
_OTHERS = (mlflow, phoenix, inspect_log)


def read_frames(source: str | Path | IO[bytes], *, on_skip: OnSkip, batch: int = BATCH) -> Iterator[pl.DataFrame]:
    """Frames with exactly the RAW columns, from a path or a binary stream, plain or gzip.

    Understood, by content and never by name: OTLP (JSON and protobuf), MLflow traces (JSON),
    Phoenix spans (JSON, JSON Lines, Parquet) and Inspect logs (`.eval` and JSON). What cannot be
    read goes to `on_skip` with its place, and the rest is read.
    Raises `ConfigurationError` where the source cannot be opened.
    """
    with opened(source) as stream:
        yield from batches(_rows(Peekable(stream), on_skip), batch)


def _rows(stream: Peekable, on_skip: OnSkip) -> Iterator[Row]:
    head = stream.head()
    if head.startswith(_ZIP):
        yield from _told(1, inspect_log.archive_rows(stream.reader().read()), on_skip)
    elif head.startswith(_PARQUET):
        yield from _told(1, phoenix.parquet_rows(stream.reader().read()), on_skip)
    else:
        yield from rows(stream, on_skip, _take)


def _take(line: int, document: Any, on_skip: OnSkip) -> Iterator[Row]:
    for other in _OTHERS:
        if other.is_document(document):
            yield from _told(line, other.rows(document), on_skip)
            return
    yield from otlp_rows(line, document, on_skip)


def _told(line: int, found: Iterator[Row | str], on_skip: OnSkip) -> Iterator[Row]:
    for row in found:
        if isinstance(row, str):
            on_skip(Skipped(line, row))
        else:
            yield row
