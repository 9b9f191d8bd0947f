"""What a pilot says about the next run: spread, clustering, and the price and length of a trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from otel_research.analysis.arms import arm, best_unit
from otel_research.analysis.observations import conditions
from otel_research.analysis.result import Warn
from otel_research.analysis.stats.agreement import variance_components
from otel_research.analysis.stats.describe import moments
from otel_research.analysis.subject import Subject
from otel_research.errors import ConfigurationError, NotEnoughData

_FEW = 20
"""Trials below which a spread is known to no better than about 30 %."""


@dataclass(frozen=True)
class Pilot:
    """Numbers of one trial, pooled over conditions; None where the pilot does not show them."""

    sd: float | None
    log_sd: float | None
    icc: float
    log_icc: float
    rate: float | None
    rho: float | None
    is_paired: bool
    trials_per_item: int
    dollars: float | None
    seconds: float | None
    warnings: tuple[Warn, ...]


def measure_pilot(pilot: Any, outcome: str) -> Pilot:
    """The pilot's numbers for one outcome; spreads are within conditions, so that an effect is no spread."""
    subjects = _subjects(pilot)
    unit = best_unit(subjects)
    arms = [arm(subject, unit, None, subject.label) for subject in subjects]
    known = {name for each in arms for name in each.frames}
    if outcome not in known:
        raise NotEnoughData(
            f"The pilot has no value of {outcome!r}. Outcomes with values: {', '.join(sorted(known)) or 'none'}."
        )
    frames = [each.frames[outcome].filter(pl.col("value").is_not_null()) for each in arms if outcome in each.frames]
    frames = [frame for frame in frames if frame.height]
    sd, icc, per_item = _spread(frames, is_log=False)
    log_sd, log_icc, _ = _spread(frames, is_log=True)
    shared = _shared_items(frames)
    n = min(frame.height for frame in frames)
    text = f"the pilot has {n} trials in its smallest condition: the spread, and so n, is rough"
    rates = _mean_of(arms, "success_rate", first_only=True)
    latency = _mean_of(arms, "latency")
    return Pilot(
        sd=sd,
        log_sd=log_sd,
        icc=icc,
        log_icc=log_icc,
        rate=rates,
        rho=_correlation(frames, shared) if len(shared) > 2 else None,
        is_paired=len(shared) > 1,
        trials_per_item=max(1, round(per_item)),
        dollars=_mean_of(arms, "cost"),
        seconds=None if latency is None else latency / 1000,
        warnings=(Warn(code="small_pilot", severity="warning", text=text, value=float(n)),) if n < _FEW else (),
    )


def _subjects(pilot: Any) -> list[Subject]:
    """One subject per condition."""
    given: Sequence[Any] = pilot if isinstance(pilot, (list, tuple)) else [pilot]
    found = []
    for each in given:
        subject = Subject(each.lazy()) if isinstance(each, (pl.DataFrame, pl.LazyFrame)) else each
        if not isinstance(subject, Subject):
            raise ConfigurationError(f"A pilot is an experiment or a frame of spans, not a {type(each).__name__}.")
        names = conditions(subject)
        found += [subject.where({"condition": name}) for name in names] if len(names) > 1 else [subject]
    return found


def _spread(frames: list[pl.DataFrame], *, is_log: bool) -> tuple[float | None, float, float]:
    """Standard deviation of a trial within its condition, share between items, trials per item."""
    centred: list[np.ndarray] = []
    items: list[str] = []
    for index, frame in enumerate(frames):
        values = frame["value"].to_numpy().astype(np.float64)
        if is_log and not bool((values > 0).all()):
            return None, 0.0, 1.0
        values = np.log(values) if is_log else values
        centred.append(values - values.mean())
        known = not frame["item_id"].null_count()
        items += [f"{index}:{item}" for item in (frame["item_id"] if known else range(frame.height))]
    pooled = np.concatenate(centred)
    if pooled.size - len(frames) < 1:
        raise NotEnoughData(f"The pilot has {pooled.size} trials; at least 2 in one condition are needed.")
    sd = math.sqrt((moments(pooled).variance or 0.0) * (pooled.size - 1) / (pooled.size - len(frames)))
    codes = np.unique(np.array(items), return_inverse=True)[1]
    try:
        parts = variance_components(pooled, codes)
    except NotEnoughData:
        return sd or None, 0.0, pooled.size / (codes.max() + 1)
    return sd or None, parts.icc, pooled.size / (codes.max() + 1)


def _shared_items(frames: list[pl.DataFrame]) -> list[str]:
    if len(frames) < 2 or any(frame["item_id"].null_count() for frame in frames):
        return []
    return sorted(set.intersection(*(set(frame["item_id"].to_list()) for frame in frames)))


def _correlation(frames: list[pl.DataFrame], shared: list[str]) -> float | None:
    """Correlation of the arms' true item values: of observed means, freed of the noise within items (Spearman 1904)."""
    first, second = (
        frame.filter(pl.col("item_id").is_in(shared))
        .group_by("item_id")
        .agg(pl.col("value").mean())
        .sort("item_id")["value"]
        for frame in frames[:2]
    )
    x, y = first.to_numpy().astype(np.float64), second.to_numpy().astype(np.float64)
    is_log = all(bool((frame["value"] > 0).all()) for frame in frames[:2])
    x, y = (np.log(x), np.log(y)) if is_log else (x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    observed = float(np.corrcoef(x, y)[0, 1])
    _, icc, per_item = _spread(frames[:2], is_log=is_log)
    reliability = icc / (icc + (1 - icc) / per_item) if icc > 0 else 1.0
    return max(0.0, min(0.99, observed / reliability))


def _mean_of(arms: list[Any], name: str, first_only: bool = False) -> float | None:
    values = [
        each.frames[name]["value"].drop_nulls() for each in (arms[:1] if first_only else arms) if name in each.frames
    ]
    pooled = pl.concat(values) if values else pl.Series([], dtype=pl.Float64)
    return float(pooled.cast(pl.Float64).mean()) if len(pooled) else None  # type: ignore[arg-type]
