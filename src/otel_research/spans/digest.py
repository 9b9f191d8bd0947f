"""The hash of an experiment's content: the same data give the same one, wherever they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from otel_research.spans.ordered import in_order

if TYPE_CHECKING:
    import polars as pl

_HASHED = (
    "trace_id", "span_id", "start_ns", "end_ns", "parent_span_id", "name", "kind", "status", "status_message",
    "condition", "trial_id", "item_id", "repetition", "session_id", "factors", "aside", "sample_weight",
    "scope", "scope_version", "attributes", "events", "links",
    "dropped_attributes", "dropped_events", "dropped_links",
)  # fmt: skip
"""What the content hash covers: not where and by which process the spans were stored."""

_OWN_ID = r'"experiment\.id":"[0-9a-f]*",?'


def content_hash(rows: pl.LazyFrame) -> str:
    """SHA-256 over what the stored rows say, independent of their order, their store and the experiment's id."""
    import hashlib

    import polars as pl

    encode = msgspec.json.Encoder().encode_lines
    digest = hashlib.sha256()
    said = rows.select(_HASHED).with_columns(pl.col("attributes").str.replace(_OWN_ID, ""))
    for batch in in_order(said):
        digest.update(encode(batch.rows()))
    return digest.hexdigest()
