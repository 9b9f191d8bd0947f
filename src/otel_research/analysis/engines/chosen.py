"""The engine that an `engine=` argument means."""

from __future__ import annotations

from typing import Any, Protocol

import narwhals as nw
import polars as pl

from otel_research.errors import ConfigurationError

NAMES = ("polars", "duckdb", "spark")


class Engine(Protocol):
    """Where sums, counts, extremes and quantiles are computed."""

    @property
    def name(self) -> str:
        """Name and version, as results print it."""

    def take(self, table: pl.DataFrame) -> nw.LazyFrame[Any]:
        """The table as one of the engine's own."""


def engine_of(chosen: Any) -> Engine | None:
    """The engine; None is Polars.

    `chosen` is "polars", "duckdb", "spark" (the session that is active), the address of a Spark Connect server
    ("sc://host:15002") or a SparkSession, Spark Connect's too.
    Raises `ConfigurationError` for anything else, `MissingExtra` where the engine is not installed.
    """
    if chosen is None or chosen == "polars":
        return None
    if chosen == "duckdb":
        from otel_research.analysis.engines.duckdb import DuckDB

        return DuckDB()
    if isinstance(chosen, str) and chosen.startswith("sc://"):
        from otel_research.analysis.engines.spark import Spark, connected

        return Spark(connected(chosen))
    if chosen == "spark" or hasattr(chosen, "createDataFrame"):
        from otel_research.analysis.engines.spark import Spark

        return Spark(None if chosen == "spark" else chosen)
    raise ConfigurationError(
        f"engine={chosen!r} is not an engine. Use {', '.join(map(repr, NAMES))}, 'sc://HOST:PORT' (Spark Connect) "
        "or pass a SparkSession."
    )
