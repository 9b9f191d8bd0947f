"""Apache Spark, by a session of the user's: classic or Spark Connect."""

from __future__ import annotations

import contextlib
import functools
import socket
import weakref
from typing import Any
from urllib.parse import urlsplit

import narwhals as nw
import polars as pl
import polars.selectors as cs

from otel_research.errors import ConfigurationError, MissingExtra

_PART_BYTES = 32 * 2**20
_PORT = 15002
"""Spark Connect's own."""


class Spark:
    """One session; nothing in it is configured or stopped by us."""

    def __init__(self, session: Any = None) -> None:
        self._session = _active() if session is None else session
        self.name = f"spark {self._session.version}"

    def take(self, table: pl.DataFrame) -> nw.LazyFrame[Any]:
        """The table, kept by the cluster's workers until nobody holds it any more.

        Without that each of the dozens of aggregations would send all rows from here again. A worker that is lost gets
        its part again.
        """
        # Spark has no unsigned integers.
        signed = table.with_columns(cs.unsigned_integer().cast(pl.Int64))
        # In parts: Spark refuses a task, or a message, that carries more than its limit (128 MiB by default).
        rows = max(1, round(_PART_BYTES * signed.height / max(1.0, signed.estimated_size())))
        parts = [self._session.createDataFrame(part.to_arrow()) for part in signed.iter_slices(rows)]
        whole = functools.reduce(lambda one, two: one.unionAll(two), parts)
        # One task a part: each would be as many as the cluster has cores.
        kept = whole.coalesce(len(parts)).persist()
        found: nw.LazyFrame[Any] = nw.from_native(kept)
        weakref.finalize(found, _released, kept).atexit = False
        return found


def _released(kept: Any) -> None:
    """Let the workers forget a table."""
    # A session that was stopped has forgotten it, and nobody waits for this.
    with contextlib.suppress(Exception):
        kept.unpersist()


@functools.cache
def connected(address: str) -> Any:
    """A session of the Spark Connect server at "sc://HOST:PORT", one a process."""
    sessions = _sessions()
    parts = urlsplit(address)
    try:
        # Spark's client would go on trying for minutes.
        socket.create_connection((parts.hostname or "", parts.port or _PORT), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"engine={address!r}: no Spark Connect server answers there ({error}). Start one, or correct the address."
        ) from error
    # Not `getOrCreate`: that gives a session that is there already, of whatever server.
    try:
        return sessions.builder.remote(address).create()
    except ImportError as error:  # what pyspark needs for it, pandas for one, does not come with pyspark
        raise MissingExtra("pyspark[connect]", "spark") from error


def _sessions() -> Any:
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise MissingExtra("pyspark", "spark") from None
    return SparkSession


def _active() -> Any:
    session = _sessions().getActiveSession()
    if session is None:
        raise ConfigurationError(
            'engine="spark" needs a session that is active in this thread; make one, pass it (engine=session), or '
            'name a Spark Connect server: engine="sc://HOST:PORT".'
        )
    return session
