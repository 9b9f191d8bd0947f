"""Rows that are read several times: in memory while they are few, in files while they are many."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import polars as pl
from polars.io.plugins import register_io_source

ROWS, BYTES = 1_250_000, 2**30
"""What is held in memory of one plan at most; of more, nothing is."""
_ROW_GROUP = 50_000


class Scratch:
    """A folder for such rows, made when the first are too many, and gone at the end.

    It is where `tempfile` puts its own: set `TMPDIR` where that is too small, or memory.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def hold(self, plan: pl.LazyFrame) -> pl.LazyFrame:
        """The plan's rows, computed now, in their order."""
        batches = plan.collect_batches(maintain_order=True, engine="streaming")
        held: list[pl.DataFrame] = []
        rows = size = 0
        for batch in batches:
            held.append(batch)
            rows, size = rows + batch.height, size + int(batch.estimated_size())
            if rows > ROWS or size > BYTES:
                return self._written(plan.collect_schema(), held, batches)
        return pl.concat(held).lazy() if held else pl.LazyFrame(schema=plan.collect_schema())

    def _written(self, schema: pl.Schema, held: list[pl.DataFrame], rest: Iterator[pl.DataFrame]) -> pl.LazyFrame:
        def rows(*_: object) -> Iterator[pl.DataFrame]:
            while held:
                yield held.pop(0)
            yield from rest

        file = self._file()
        register_io_source(rows, schema=schema).sink_parquet(
            file, compression="lz4", statistics=False, row_group_size=_ROW_GROUP
        )
        return pl.scan_parquet(file, glob=False)  # its folder is the user's: any name

    def _file(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="otel-research-")
        self._files += 1
        return Path(self._folder.name) / f"{self._files}.parquet"
