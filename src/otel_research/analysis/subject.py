"""What an analysis is about: rows, the record they belong to, and the notes made on them.

The door (`handle`) resolves experiments, ids and selections into a `Subject`; everything
in this room takes one and does no input or output. A user's own LazyFrame works too: columns
it lacks are added as nulls, so that one with `duration_ms` and `condition` is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from otel_research.errors import ConfigurationError
from otel_research.experiments import ExperimentRecord
from otel_research.spans import schema
from otel_research.spans.where import Where, predicate

EXCLUSION = "exclusion"
"""Kind of the annotation that takes trials out of every number:
{"kind": "exclusion", "trial_id": ... | "trial_ids": [...] | "where": {column: value}, "reason": ...}."""
SCORE = "score"
"""Kind of the annotation that scores a trial after the run:
{"kind": "score", "trial_id": ..., "name": ..., "value": ..., "label": ...}."""


@dataclass(frozen=True)
class Subject:
    """Rows with the columns of `schema.ALL` (and any more), and what is known about them."""

    spans: pl.LazyFrame
    record: ExperimentRecord | None = None
    label: str = "data"
    ledger: dict[str, Any] | None = None
    annotations: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", conform(self.spans))

    def where(self, where: Where | None) -> Subject:
        """The same subject with only the rows that pass."""
        if where is None:
            return self
        rows = self.spans.filter(predicate(where, self.spans))
        return Subject(rows, self.record, self.label, self.ledger, self.annotations)


def conform(frame: pl.LazyFrame | pl.DataFrame) -> pl.LazyFrame:
    """The frame with every column of `schema.ALL` in its type; what is missing is null.

    `duration_ms` is taken from `start_ns` and `end_ns` where only those are there, nano-dollars
    from dollars, and a missing `sample_weight` is 1: such rows were not sampled by us.
    Raises `ConfigurationError` for a column whose values are of another kind.
    """
    lazy = frame.lazy()
    have = lazy.collect_schema()
    want = schema.polars_schema(schema.ALL)
    derived = {
        "sample_weight": pl.lit(1.0),
        "duration_ms": _duration(have),
        "cost_nano_usd": (pl.col("cost_usd").cast(pl.Float64) * 1e9).round().cast(pl.Int64)
        if "cost_usd" in have
        else None,
        "cost_usd": pl.col("cost_nano_usd").cast(pl.Float64) / 1e9 if "cost_nano_usd" in have else None,
    }
    columns = []
    for name, kind in want.items():
        if name not in have:
            made = derived.get(name)
            columns.append((pl.lit(None) if made is None else made).cast(kind).alias(name))
        elif have[name] != kind:
            columns.append(_cast(name, have[name], kind))
    return lazy.with_columns(columns) if columns else lazy


def included(subject: Subject) -> pl.LazyFrame:
    """The rows without the ones that exclusion notes take out of the numbers; the data stay.

    A note about trials takes their spans along: those of the trials it names, and those of
    every trial whose own span it describes.
    """
    rows = subject.spans
    ids: list[str] = []
    for note in exclusions(subject.annotations):
        ids += trial_ids(note)
        hit = described(note, subject.spans)
        if hit is not None:
            taken = subject.spans.filter(hit & (pl.col("role") == "trial")).select("trial_id")
            rows = rows.filter(~hit.fill_null(value=False)).join(taken, on="trial_id", how="anti")
    return rows.filter(~pl.col("trial_id").is_in(sorted(set(ids))).fill_null(value=False)) if ids else rows


def exclusions(annotations: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """The notes that take trials out."""
    return [note for note in annotations if note.get("kind") in (EXCLUSION, "exclude")]


def described(note: Mapping[str, Any], spans: pl.LazyFrame) -> pl.Expr | None:
    """The rows that an exclusion's `where` describes; None where it has none, or one that these rows cannot answer.

    A note cannot be taken back, so one that an older version let pass must not keep every analysis from answering.
    """
    try:
        return predicate(note["where"], spans) if isinstance(note.get("where"), Mapping) else None
    except ConfigurationError:
        return None


def unusable(subject: Subject) -> list[str]:
    """The exclusions that exclude nothing because the rows cannot answer them: each with its reason."""
    found = []
    for note in exclusions(subject.annotations):
        try:
            if isinstance(note.get("where"), Mapping):
                predicate(note["where"], subject.spans)
        except ConfigurationError as error:
            found.append(f"the exclusion {note['where']!r} ({note.get('reason')!r}) excludes nothing: {error}")
    return found


def trial_ids(note: Mapping[str, Any]) -> list[str]:
    """The trials that a note names."""
    return [str(one) for one in (note.get("trial_id"), note.get("trial"), *(note.get("trial_ids") or ())) if one]


def _duration(have: pl.Schema) -> pl.Expr | None:
    if "start_ns" not in have or "end_ns" not in have:
        return None
    length = pl.col("end_ns").cast(pl.Int64) - pl.col("start_ns").cast(pl.Int64)
    return pl.when(length >= 0).then(length / 1e6)


def _cast(name: str, have: pl.DataType, want: pl.DataType) -> pl.Expr:
    is_numeric = have.is_numeric() or have == pl.Boolean
    fits = have == pl.Null or (want == pl.String and have in (pl.Categorical, pl.Enum)) or is_numeric
    if not fits or (want == pl.Boolean and have.is_numeric()):
        raise ConfigurationError(
            f"the column {name!r} is {have}, expected {want}. Cast it first, for example "
            f"frame.with_columns(pl.col({name!r}).cast(pl.{want}))."
        )
    return pl.col(name).cast(want)
