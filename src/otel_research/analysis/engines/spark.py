"""Apache Spark, by a session of the user's: classic or Spark Connect."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import polars as pl
import polars.selectors as cs

from otel_research.errors import ConfigurationError, MissingExtra


class Spark:
    """One session; nothing in it is configured or stopped by us."""

    def __init__(self, session: Any = None) -> None:
        self._session = _active() if session is None else session
        self.name = f"spark {self._session.version}"

    def take(self, table: pl.DataFrame) -> nw.LazyFrame[Any]:
        """The table in the cluster."""
        # Spark has no unsigned integers.
        signed = table.with_columns(cs.unsigned_integer().cast(pl.Int64))
        found: nw.LazyFrame[Any] = nw.from_native(self._session.createDataFrame(signed.to_arrow()))
        return found


def _active() -> Any:
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise MissingExtra("pyspark", "spark") from None
    session = SparkSession.getActiveSession()
    if session is None:
        raise ConfigurationError(
            'engine="spark" needs a session that is active in this thread; make one, or pass it: engine=session.'
        )
    return session
