"""Measured numbers and scores, wherever they were written: one table that every analysis reads.

`record()` leaves measurements, of which every one counts. A score is a judgement, and a later one corrects
an earlier one: per trial and name the last counts, one that was noted after the run before one made during it.
"""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl

from otel_research.analysis.subject import SCORE, Subject
from otel_research.analysis.units import Tables, in_order, is_trial
from otel_research.spans import values

PREFIX = "measurement."
RESERVED = frozenset({"duration_ms", "duration_us", "cost_usd", "model", "input_tokens", "output_tokens", "success"})
"""Names that `record()` understands itself: they are latency, cost, tokens and reliability already."""
_RECORDED, _SCORED, _JUDGED, _LATER = range(4)
"""Where a number came from, in the order in which a later source corrects an earlier one."""
_ABOUT = ("trial_id", "item_id", "start_ns", "weight")
_TOLD = {"source": pl.Int64, "name": pl.String, "value": pl.Float64}


def scored(table: Tables, subject: Subject) -> pl.DataFrame:
    """trial_id, item_id, start_ns, weight, the group keys, name and value: a row per measurement or score that counts.

    Only rows and trials of the table are in it: a score that was noted later belongs to its trial, and is
    out where its trial is excluded or filtered away. Rows outside of any trial stand for themselves.
    """
    about = (*_ABOUT, *table.keys)
    rows = in_order(table.rows.filter(has_measurements()))
    if table.unit == "trial":
        ids = table.units["trial_id"].implode()
        rows = rows.filter(pl.col("trial_id").is_null() | pl.col("trial_id").is_in(ids))
    told = _told(rows)
    columns = [
        pl.Series(name, [one[at] for one in told], dtype=kind) for at, (name, kind) in enumerate(_TOLD.items(), 1)
    ]
    during = rows[[one[0] for one in told]].select(about).with_columns(columns)
    trials = table.units if table.unit == "trial" else table.rows.filter(is_trial())
    trials = trials.select(about).unique("trial_id", maintain_order=True)
    later = later_scores(subject).join(trials, on="trial_id", maintain_order="left")
    return _last(pl.concat([during, later.select(during.columns)])).drop("source")


def has_measurements() -> pl.Expr:
    """Rows with numbers that `record()`, `score()`, an evaluation's event or a judge left."""
    return pl.any_horizontal(pl.col("measurements", "score_name", "evaluations").is_not_null())


def measurements(rows: pl.DataFrame) -> list[tuple[int, str, float]]:
    """Row number, name and value of every number that was recorded, scored or judged in these rows."""
    return [(index, name, value) for index, _, name, value in _told(rows) if value is not None]


def later_scores(subject: Subject) -> pl.DataFrame:
    """Scores that were noted after the run, in their order: trial_id, source, name, value (null for a mere label)."""
    rows = [
        (str(note["trial_id"]), _LATER, str(note.get("name")), as_number(note.get("value")))
        for note in subject.annotations
        if note.get("kind") == SCORE and note.get("trial_id")
    ]
    return pl.DataFrame(rows, schema={"trial_id": pl.String, **_TOLD}, orient="row")


def without_trial(subject: Subject) -> int:
    """Scores that were noted after the run and name no trial: nothing says which numbers they belong to."""
    return sum(note.get("kind") == SCORE and not note.get("trial_id") for note in subject.annotations)


def as_number(value: Any) -> float | None:
    """A finite number, truth values included; None for anything else."""
    if isinstance(value, bool):
        return float(value)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _told(rows: pl.DataFrame) -> list[tuple[int, int, str, float | None]]:
    """Row number, source, name and value; a score of None has a label only."""
    found: list[tuple[int, int, str, float | None]] = []
    for index, text in enumerate(rows["measurements"]):
        if text is None:
            continue
        for key, value in values.from_json(text).items():
            name = key.removeprefix(PREFIX)
            number = as_number(value)
            if key != name and name not in RESERVED and number is not None:
                found.append((index, _RECORDED, name, number))
    scores = zip(rows["score_name"], rows["score_value"], strict=True)
    found += [
        (index, _SCORED, name, as_number(value)) for index, (name, value) in enumerate(scores) if name is not None
    ]
    for index, text in enumerate(rows["evaluations"]):
        judged = [] if text is None else json.loads(text)
        found += [(index, _JUDGED, one["name"], one["value"]) for one in judged if one["name"] is not None]
    return found


def _last(frame: pl.DataFrame) -> pl.DataFrame:
    """Every measurement, and of each trial's scores the last of a name, where it is a number."""
    can_repeat = (pl.col("source") == _RECORDED) | pl.col("trial_id").is_null()
    scores = frame.filter(~can_repeat).sort("source", "start_ns", maintain_order=True)
    last = scores.unique(["trial_id", "name"], keep="last", maintain_order=True)
    return pl.concat([frame.filter(can_repeat), last]).filter(pl.col("value").is_not_null())
