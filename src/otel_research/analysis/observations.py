"""What an analysis of variance is about: one response per unit, with the levels of its factors.

A frame that has the columns is taken as it is. Experiments are turned into units (trials where they
have them, else calls) and pooled; a factor is looked up in the factors of the row, of the experiment,
then among the columns (`condition`, `request_model`, ...); "experiment" tells the experiments apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from otel_research.analysis.arms import UNITS, arm, best_unit
from otel_research.analysis.subject import Subject
from otel_research.analysis.units import Unit
from otel_research.errors import ConfigurationError, NotEnoughData

EXPERIMENT = "experiment"
_ITEM_NAMES = ("item", "item_id")
_RESPONSES = {"latency_ms": "latency", "duration_ms": "latency", "ttft_ms": "ttft", "cost_usd": "cost",
              "success": "success_rate"}  # fmt: skip


@dataclass(frozen=True)
class Observations:
    """Rows without a missing response: its values, factor levels, and the item of each where known."""

    values: np.ndarray
    factors: dict[str, list[Any]]
    items: list[Any] | None
    response: str
    measure: str
    """The response's own unit: "ms", "USD", ... or "1"."""
    unit: str
    n_missing: int

    @property
    def repeats(self) -> bool:
        """Whether an item has several rows within one cell of the design."""
        if self.items is None:
            return False
        cells = list(zip(self.items, *self.factors.values(), strict=True))
        return len(set(cells)) < len(cells)


def observe(data: Any, response: str, factors: Sequence[str], block: str | None, unit: Unit | None) -> Observations:
    """The observations behind a frame, a subject or a list of subjects."""
    if isinstance(data, (pl.DataFrame, pl.LazyFrame)):
        known = data.lazy().collect_schema().names()
        wanted = [response, *factors, *([block] if block else [])]
        if all(name in known for name in wanted):
            return _of_frame(data.lazy(), response, factors, block)
        data = Subject(data.lazy())
    subjects = [data] if isinstance(data, Subject) else list(data)
    frame, chosen = _of_subjects(subjects, response, factors, unit)
    return _observations(frame, response, factors, "item_id", UNITS.get(_outcome(response), "1"), chosen)


def conditions(subject: Subject) -> list[str]:
    """The conditions that the subject's rows were recorded in."""
    found = subject.spans.select(pl.col("condition").drop_nulls().unique().sort()).collect()["condition"]
    return [str(name) for name in found]


def _of_frame(frame: pl.LazyFrame, response: str, factors: Sequence[str], block: str | None) -> Observations:
    item = block or next((name for name in _ITEM_NAMES if name in frame.collect_schema().names()), None)
    columns = list(dict.fromkeys([response, *factors, *([item] if item else [])]))
    rows = frame.select(columns).sort(columns).collect()
    kind = rows.schema[response]
    if not (kind.is_numeric() or kind == pl.Boolean):
        raise ConfigurationError(f"The response {response!r} is {kind}, not a number. Cast it first.")
    renamed = rows.with_columns(pl.col(response).cast(pl.Float64).alias("value"))
    return _observations(renamed, response, factors, item, "1", "row")


def _observations(
    rows: pl.DataFrame, response: str, factors: Sequence[str], item: str | None, measure: str, unit: str
) -> Observations:
    kept = rows.filter(pl.col("value").is_not_null() & pl.col("value").is_not_nan())
    if kept.is_empty():
        raise NotEnoughData(f"No row has a value of {response!r}.")
    items = None
    if item is not None and item in kept.columns and not kept[item].null_count():
        items = kept[item].to_list()
    return Observations(
        values=kept["value"].to_numpy().astype(np.float64),
        factors={name: kept[name].to_list() for name in factors},
        items=items,
        response=response,
        measure=measure,
        unit=unit,
        n_missing=rows.height - kept.height,
    )


def _of_subjects(
    subjects: Sequence[Subject], response: str, factors: Sequence[str], unit: Unit | None
) -> tuple[pl.DataFrame, str]:
    for each in subjects:
        if not isinstance(each, Subject):
            raise ConfigurationError(f"Cannot analyse a {type(each).__name__}; pass experiments, frames or sequences.")
    chosen = unit or best_unit(list(subjects))
    parts, known = [], {}
    for subject in subjects:
        for cell, levels in _cells(subject, factors):
            side = arm(cell, chosen, None, subject.label)
            known.update(dict.fromkeys(side.frames))
            frame = side.frames.get(_outcome(response))
            if frame is not None:
                part = frame.select("value", "item_id")
                parts.append(part.with_columns(pl.lit(value).alias(name) for name, value in levels.items()))
    if not parts:
        names = ", ".join(known) or "none"
        raise NotEnoughData(f"No unit ({chosen}) has a value of {response!r}. Responses with values: {names}.")
    return pl.concat(parts, how="vertical_relaxed"), str(chosen)


def _cells(subject: Subject, factors: Sequence[str]) -> list[tuple[Subject, dict[str, str]]]:
    """The subject split into the cells of the design, each with its levels as text."""
    columns = subject.spans.collect_schema().names()
    fixed = subject.record.factors if subject.record is not None else {}
    plain = [name for name in factors if name in columns and name not in ("condition", "factors")]
    split = ["condition", "factors", *plain]
    found = []
    for row in subject.spans.select(split).unique().sort(split).collect().iter_rows(named=True):
        own = json.loads(row["factors"]) if row["factors"] else {}
        levels = {name: _level(name, own, fixed, row, subject) for name in factors}
        # Rows outside of the design (a span of the harness, say) have no level and are no unit.
        if all(level is not None for level in levels.values()):
            found.append((subject.where(row), {name: str(level) for name, level in levels.items()}))
    if not found:
        offered = sorted({*fixed, *_offered(subject)})
        raise NotEnoughData(
            f"No row of {subject.label!r} has a level of every factor ({', '.join(factors)}). "
            f"Factors it has: {', '.join(offered) or 'none'}; its columns can be factors too."
        )
    return found


def _level(name: str, own: dict[str, Any], fixed: dict[str, Any], row: dict[str, Any], subject: Subject) -> Any:
    if name in own:
        return own[name]
    if name in fixed:
        return fixed[name]
    if name == EXPERIMENT:
        return subject.label
    if name in row:
        return row[name] if row[name] is not None or subject.record is None else getattr(subject.record, name, None)
    return None


def _offered(subject: Subject) -> set[str]:
    texts = subject.spans.select(pl.col("factors").drop_nulls().unique()).collect()["factors"]
    return {name for text in texts for name in json.loads(text)} | {"condition"}


def _outcome(response: str) -> str:
    return _RESPONSES.get(response, response)
