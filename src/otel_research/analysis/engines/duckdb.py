"""DuckDB: SQL in this process; the second opinion."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import polars as pl

from otel_research.errors import MissingExtra


class DuckDB:
    """A connection of its own, in memory."""

    def __init__(self) -> None:
        try:
            import duckdb
        except ImportError:
            raise MissingExtra("duckdb", "duckdb") from None
        self._connection = duckdb.connect()
        self.name = f"duckdb {duckdb.__version__}"

    def take(self, table: pl.DataFrame) -> nw.LazyFrame[Any]:
        """The table without a copy, as Arrow."""
        return nw.from_native(self._connection.from_arrow(table.to_arrow()))
