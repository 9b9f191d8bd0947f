"""How far apart the clocks of two nodes are, from requests between them.

A client span on one node and the server span below it on another are the four times of an NTP
exchange (RFC 5905, section 8): sent, received, answered, returned. They bound the offset of the
server's clock: half the sum of both differences, plus or minus half the time on the way. Of all
exchanges between two nodes the one with the shortest way says most (the clock filter, section 10).
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

_HOST = r'"host[.]name":"([^"]+)"'
"""What names a node in a resource: the attribute of the host detector, or of OTEL_RESOURCE_ATTRIBUTES."""
LEAST_MS = 1.0
"""An offset below this many milliseconds is none."""


class Offset(NamedTuple):
    """The clock of `node` is ahead of that of `reference` by `ms`, give or take `within_ms`; from `pairs` requests."""

    reference: str
    node: str
    ms: float
    within_ms: float
    pairs: int

    @property
    def is_certain(self) -> bool:
        """Whether the clocks differ for sure: the limits leave out zero."""
        return abs(self.ms) > max(self.within_ms, LEAST_MS)


def node_of() -> pl.Expr:
    """The node of a row, from its resource; null where that names no host."""
    return pl.col("resource").str.extract(_HOST).alias("node")


def offsets(spans: pl.DataFrame) -> list[Offset]:
    """The offset between every two nodes that have a request between them.

    `spans` has trace_id, span_id, parent_span_id, kind, start_ns, end_ns and node.
    """
    known = spans.filter(pl.all_horizontal(pl.col("node", "start_ns", "end_ns").is_not_null()))
    if known["node"].n_unique() < 2:
        return []
    clients = known.filter(pl.col("kind") == "client").select(
        "trace_id",
        pl.col("span_id").alias("parent_span_id"),
        pl.col("node").alias("reference"),
        pl.col("start_ns").alias("sent"),
        pl.col("end_ns").alias("returned"),
    )
    pairs = known.filter(pl.col("kind") == "server").join(clients, on=["trace_id", "parent_span_id"], how="inner")
    pairs = pairs.filter(pl.col("node") != pl.col("reference")).with_columns(
        offset=((pl.col("start_ns") - pl.col("sent")) + (pl.col("end_ns") - pl.col("returned"))) / 2,
        way=(pl.col("returned") - pl.col("sent")) - (pl.col("end_ns") - pl.col("start_ns")),
    )
    # An answer that took longer than the request is of a stream, or of a server that went on: it says nothing.
    best = (
        pairs.filter(pl.col("way") >= 0)
        .sort("way", maintain_order=True)
        .group_by("reference", "node", maintain_order=True)
        .agg(pl.col("offset").first(), pl.col("way").first(), pl.len().alias("pairs"))
        .sort("reference", "node")
    )
    return [
        Offset(row["reference"], row["node"], row["offset"] / 1e6, row["way"] / 2e6, row["pairs"])
        for row in best.iter_rows(named=True)
    ]
