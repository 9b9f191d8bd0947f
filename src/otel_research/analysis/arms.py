"""The two sides of a comparison as samples: values of each outcome per unit, with item, order and weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otel_research.analysis import dependence, sufficient
from otel_research.analysis.engines.chosen import Engine
from otel_research.analysis.scored import scored
from otel_research.analysis.subject import Subject
from otel_research.analysis.units import Tables, Unit, in_order, is_trial, tables
from otel_research.errors import ConfigurationError, NotEnoughData
from otel_research.spans.where import Where

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

BUILT_IN = ("latency", "ttft", "cost", "tokens", "success_rate")
UNITS = {"latency": "ms", "ttft": "ms", "cost": "USD", "tokens": "tokens", "success_rate": "1"}
ALIASES = {"reliability": "success_rate", "success": "success_rate", "latency_ms": "latency", "cost_usd": "cost"}
BASELINES = ("baseline", "control")
"""Conditions that others are compared with where nobody says which."""
LOWER = frozenset({"latency", "ttft", "cost", "tokens"})


@dataclass(frozen=True)
class Sample:
    """One outcome of one arm: only units whose value is known."""

    values: Floats
    items: Codes | None
    """Item codes shared by both arms; None where items are unknown."""
    order: NDArray[np.int64]
    """Start times, to judge drift; 0 where unknown."""
    weights: Floats
    is_censored: NDArray[np.bool_]
    level: str | None = dependence.ITEM
    """What `items` are: items, or the sessions, trials or traces that units lie in."""
    engine: Engine | None = None
    """Where sufficient statistics are computed; None is numpy."""

    @property
    def n(self) -> int:
        """Units with a known value."""
        return int(self.values.size)

    @cached_property
    def per_item(self) -> Codes:
        """Units of each item code; raises `NotEnoughData` where items are unknown."""
        if self.items is None:
            raise NotEnoughData("The units carry no item ids.")
        return np.bincount(self.items)

    @property
    def distinct(self) -> Codes:
        """The items, each once, sorted."""
        return np.flatnonzero(self.per_item)

    @property
    def repeats(self) -> bool:
        """Whether an item has more than one unit here."""
        return self.items is not None and bool(self.n) and int(self.per_item.max()) > 1

    @cached_property
    def by_value(self) -> Codes:
        """The units in order of their values."""
        return np.argsort(self.values, kind="stable")

    @property
    def is_even(self) -> bool:
        """Whether every unit counts the same."""
        return not self.n or bool(np.ptp(self.weights) == 0)

    @cached_property
    def told(self) -> sufficient.Sufficient | None:
        """Sufficient statistics on the engine; None where numpy computes: under unequal weights, and of a constant.

        A constant would seem to vary in the last digits of an engine's sums.
        """
        if self.engine is None or not self.n or not self.is_even or np.ptp(self.values) == 0:
            return None
        return sufficient.Sufficient(self.engine.take(sufficient.table_of(self.values, self.items)))

    def mean(self, *, log: bool = False) -> float:
        """The weighted mean of the values (of their logarithms with `log`)."""
        if self.told is not None:
            return self.told.moments(log=log).mean
        return float(np.average(np.log(self.values) if log else self.values, weights=self.weights))

    def total(self) -> float:
        """The sum of the values."""
        return float(self.values.sum()) if self.told is None else self.told.total

    def having(self, items: Codes) -> Sample:
        """The same values with other item codes."""
        return replace(self, items=items, level=dependence.ITEM)


@dataclass(frozen=True)
class Arm:
    """One side: its label, its subject (None for plain numbers), its units and its outcomes."""

    label: str
    subject: Subject | None
    table: Tables | None
    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """outcome -> value, item_id, start_ns, weight, is_censored."""


def arm(side: Any, unit: Unit | None, where: Where | None, label: str, engine: Engine | None = None) -> Arm:
    """A subject or a sequence of numbers as an arm; a subject's statistics come from the engine."""
    if isinstance(side, Subject):
        return _of_subject(side, unit or best_unit([side]), where, engine)
    return Arm(label, None, None, {"value": _of_numbers(side, label)})


def best_unit(sides: Sequence[Any]) -> str:
    """ "trial" where every subject has trials, else "call"."""
    subjects = [side for side in sides if isinstance(side, Subject)]
    has = [not s.spans.filter(is_trial()).select("role").head(1).collect().is_empty() for s in subjects]
    return "trial" if has and all(has) else "call"


def units_of(arm: Arm, sample: Sample) -> int:
    """Units of the arm, those without a value of this outcome too; of plain numbers, how many there are."""
    return sample.n if arm.table is None else arm.table.units.height


def all_positive(a: Sample, b: Sample) -> bool:
    """Whether every value of both has a logarithm."""
    return bool(a.values.min(initial=1) > 0 and b.values.min(initial=1) > 0)


def outcomes(arms: Sequence[Arm], wanted: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """The outcomes to compare, in order, and why others are left out."""
    known = [name for name in arms[0].frames if all(name in arm.frames for arm in arms)]
    every = dict.fromkeys(name for arm in arms for name in arm.frames)
    names = list(dict.fromkeys(map(named, wanted))) if wanted is not None else list(every)
    reasons = {}
    for name in names:
        if name not in every and wanted is not None and name not in BUILT_IN:
            raise ConfigurationError(f"metrics names {name!r}, which no arm has. Known here: {', '.join(every)}.")
        if name not in known:
            missing = [arm.label for arm in arms if name not in arm.frames]
            reasons[name] = f"no value in {', '.join(missing)}"
    return [name for name in names if name in known], reasons


def named(name: str) -> str:
    """An outcome's own name for the names that people use for it."""
    return ALIASES.get(name, name)


def samples(arms: Sequence[Arm], name: str) -> list[Sample]:
    """One outcome of every arm, items coded alike in all."""
    frames = [arm.frames[name].filter(pl.col("value").is_not_null()) for arm in arms]
    codes, level = dependence.clusters(frames)
    found, at = [], 0
    for arm, frame in zip(arms, frames, strict=True):
        part = None if codes is None else codes[at : at + frame.height]
        at += frame.height
        found.append(
            Sample(
                frame["value"].to_numpy().astype(np.float64),
                part,
                frame["start_ns"].fill_null(0).to_numpy(),
                frame["weight"].fill_null(1.0).to_numpy(),
                frame["is_censored"].fill_null(value=False).to_numpy(),
                level,
                None if arm.table is None else arm.table.engine,
            )
        )
    return found


def total_tokens() -> pl.Expr:
    """Input and output tokens of a unit; null where neither is known."""
    both = pl.col("input_tokens", "output_tokens")
    return pl.when(pl.any_horizontal(both.is_not_null())).then(pl.sum_horizontal(both).cast(pl.Float64))


def item_means(sample: Sample, items: Codes, *, log: bool = False) -> Floats:
    """The mean of each of these items (of logarithms with `log`)."""
    if sample.told is not None:
        means = sample.told.item_means(items, log=log)
    else:
        values = np.log(sample.values) if log else sample.values
        sums = np.bincount(sample.items, values, sample.per_item.size)  # type: ignore[arg-type]
        means = sums[items] / sample.per_item[items]
    return np.where(sample.per_item[items] > 1, _settled(means), means)


def _settled(means: Floats) -> Floats:
    """To 13 digits: what is equal in both arms stays equal, in whatever order it was added."""
    scale = 10.0 ** (12 - np.floor(np.log10(np.clip(np.abs(means), 1e-200, 1e200))))
    settled: Floats = np.round(means * scale) / scale
    return settled


def shared_items(a: Sample, b: Sample) -> Codes:
    """Items that both arms have, sorted."""
    if a.items is None or b.items is None or not a.n or not b.n:
        return np.empty(0, dtype=np.intp)
    size = min(a.per_item.size, b.per_item.size)
    return np.flatnonzero((a.per_item[:size] > 0) & (b.per_item[:size] > 0))


def only(sample: Sample, items: Codes) -> Sample:
    """The units of these items; the sample itself where those are all it has."""
    if sample.items is None or items.size == sample.distinct.size:
        return sample
    is_kept = np.zeros(sample.per_item.size, dtype=bool)
    is_kept[items] = True
    kept = is_kept[sample.items]
    return replace(
        sample,
        values=sample.values[kept],
        items=sample.items[kept],
        order=sample.order[kept],
        weights=sample.weights[kept],
        is_censored=sample.is_censored[kept],
    )


def _of_subject(subject: Subject, unit: Unit, where: Where | None, engine: Engine | None) -> Arm:
    table = tables(subject, unit, (), where)
    table = replace(table, units=in_order(table.units), rows=in_order(table.rows), engine=engine)
    units = table.units
    if table.reason:
        return Arm(subject.label, subject, table, {})
    success = pl.when(~pl.col("is_interrupted")).then((~pl.col("is_failed")).cast(pl.Float64))
    values = {
        "latency": pl.col("latency_ms"),
        "cost": pl.col("cost_nano_usd") / 1e9,
        "tokens": total_tokens(),
        "success_rate": success,
        "ttft": pl.col("ttft_ms"),
    }
    about = ["item_id", "start_ns", "weight", "is_censored", *(n for n in dependence.LEVELS if n in units.columns)]
    frames = {}
    for name, value in values.items():
        frame = units.select(value.alias("value"), *about)
        if name != "latency":
            frame = frame.with_columns(is_censored=pl.lit(value=False))
        if frame["value"].null_count() < frame.height:
            frames[name] = frame
    return Arm(subject.label, subject, table, frames | _measured(table, subject))


def _measured(table: Tables, subject: Subject) -> dict[str, pl.DataFrame]:
    """Scores and recorded measurements: the mean per trial where they lie in one, else each for itself."""
    frame = scored(table, subject)
    if table.unit == "trial":
        frame = frame.filter(pl.col("trial_id").is_not_null())
    # A row outside of any trial stands alone: its own position is its group.
    group = pl.coalesce("trial_id", pl.int_range(pl.len()).cast(pl.String))
    means = frame.group_by("name", group.alias("group"), maintain_order=True).agg(
        pl.col("value").mean(), pl.col("item_id", "start_ns", "weight").first()
    )
    columns = ["value", "item_id", "start_ns", "weight"]
    return {
        str(key[0]): part.select(columns).with_columns(is_censored=pl.lit(value=False))
        for key, part in means.sort("name", maintain_order=True).partition_by("name", as_dict=True).items()
    }


def _of_numbers(side: Any, label: str) -> pl.DataFrame:
    if isinstance(side, (str, bytes, Mapping)) or not hasattr(side, "__len__"):
        raise ConfigurationError(
            f"cannot compare a {type(side).__name__}: pass experiments, ids, selections, frames or sequences of numbers."
        )
    try:
        values = np.asarray(side, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"{label} is not a sequence of numbers: {exc}.") from exc
    if values.ndim != 1:
        raise ConfigurationError(f"{label} has {values.ndim} dimensions; pass a flat sequence of numbers.")
    if not values.size:
        raise NotEnoughData(f"{label} is empty.")
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise NotEnoughData(
            f"{bad} of {values.size} values of {label} are NaN or infinite. Drop them first, and say so."
        )
    n = values.size
    return pl.DataFrame(
        {
            "value": values,
            "item_id": pl.Series([None] * n, dtype=pl.String),
            "start_ns": np.zeros(n, dtype=np.int64),
            "weight": np.ones(n),
            "is_censored": np.zeros(n, dtype=bool),
        }
    )
