"""RAW columns in, RAW + CANONICAL out: row by row, lazily, in batches of any size.

One batch goes through five small steps: read the attribute keys that are really there, find dialect and role,
put each field's first value into its column, make the token counts mean the same, name the failure.
"""

from __future__ import annotations

import polars as pl

from otel_research.semconv import evaluations, event_usage, events, failures, flags, keys, steps, unmapped
from otel_research.semconv.dialect import Attributes
from otel_research.semconv.dialects import claude_code, llama_index, monocle, openinference
from otel_research.semconv.kinds import Batch
from otel_research.spans import schema

_NEEDED = (
    "name",
    "scope",
    "scope_version",
    "kind",
    "start_ns",
    "end_ns",
    "status",
    "status_message",
    "dropped_attributes",
    "attributes",
    "events",
)
COMPUTED = "_canonical"
"""Name of a step in the plan: says that the canonical columns are still to be made."""
_OUT: dict[str, pl.DataType] = dict(schema.polars_schema(schema.CANONICAL))


def normalise(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with CANONICAL columns, computed anew where it has some already.

    A column of `_NEEDED` that the frame lacks counts as null. Rows stay in order, none is added or dropped;
    a row whose attributes are not readable keeps its place, with nulls and the flag `malformed_attributes`.
    """
    there = frame.collect_schema().names()
    old = [name for name in _OUT if name in there]
    needed = [pl.col(name) if name in there else pl.lit(None, dtype=_type(name)).alias(name) for name in _NEEDED]
    canonical = pl.struct(needed).map_batches(_of_batch, return_dtype=pl.Struct(_OUT), is_elementwise=True)
    return frame.drop(old).with_columns(canonical.alias(COMPUTED)).unnest(COMPUTED)


def _type(name: str) -> pl.DataType:
    return schema.polars_schema(schema.RAW)[name]


def _of_batch(batch: pl.Series) -> pl.Series:
    return canonical_columns(batch.struct.unnest()).to_struct(batch.name)


def _told(rows: pl.DataFrame) -> pl.Series:
    """The attributes, rewritten in rows of packages that no table of names can read, or with what their events tell."""
    attributes = claude_code.told(rows["scope"], rows["attributes"])
    attributes = event_usage.told(openinference.told(rows, attributes), rows["events"])
    for dialect in (llama_index, monocle):
        attributes = dialect.told(rows["scope"], attributes, rows["events"])
    return attributes


def canonical_columns(rows: pl.DataFrame) -> pl.DataFrame:
    """CANONICAL columns for rows that have the needed RAW ones."""
    attributes, shared = keys.read(_told(rows))
    told = events.read(rows["events"])
    named = attributes.columns if shared is None else attributes.columns + shared.columns.columns
    present = frozenset(name.removeprefix("@") for name in named)
    frame = rows.drop("attributes", "events").hstack(attributes).hstack(told)
    batch = Batch(frame, shared)
    for step in steps.for_keys(present, failures.may_have(frame, Attributes(present).has)):
        batch.add(step)
    batch.put(evaluations.read(batch, rows["attributes"], rows["events"]).alias("evaluations"))
    batch.put(unmapped.unread_counts(batch, rows["attributes"], rows["events"]).alias("is_unread"))
    flags.add(batch)
    return batch.select(_OUT).select(pl.col(name).cast(dtype) for name, dtype in _OUT.items())
