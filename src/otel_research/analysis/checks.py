"""Checks of a comparison's design, made before its estimates: what could make the numbers mean something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from otel_research.analysis import amendments, dependence
from otel_research.analysis.arms import Arm, Sample, shared_items, units_of
from otel_research.analysis.comparison import Check, Design
from otel_research.analysis.notes import lost
from otel_research.analysis.stats import proportions, series
from otel_research.analysis.subject import exclusions, trial_ids
from otel_research.errors import NotEnoughData

MISMATCH = 0.001
"""p below which arms that should be equal in size are not (Kohavi, Tang & Xu 2020)."""
_STEPS = 0.05
_DRIFT = 0.2


def of(a: Arm, b: Arm, x: Sample, y: Sample, design: Design, declared: int | None) -> Iterator[Check]:
    """Every check of one pair of arms; `x` and `y` are their headline samples."""
    yield _n_reached(a, b, declared, x, y)
    if a.table is not None and b.table is not None:
        yield from _sample_ratio(a, b)
        yield _both_arms(a, b)
        yield from _repeats(a, b)
        yield from _lost(a, b)
        yield from _models(a, b)
        yield from _missing(a, b)
        yield _interrupted(a, b)
    if a.subject is not None and b.subject is not None:
        yield _interleaved(x, y)
    yield _items(a, b, x, y, design)
    yield _censored(x, y)
    yield from _notes(a, b)


def _n_reached(a: Arm, b: Arm, declared: int | None, x: Sample, y: Sample) -> Check:
    if declared is None:
        return Check(name="declared_n", passed=True, severity="info", text="no sample size was declared")
    have = min(units_of(a, x), units_of(b, y))
    text = f"{have:,} of the declared {declared:,} units per arm"
    if have < declared:
        text += ": p-values and intervals of quantiles are withheld, the others hold at every look; see interim()"
    return Check(name="declared_n", passed=have >= declared, severity="warning", text=text, value=float(have))


def _sample_ratio(a: Arm, b: Arm) -> Iterator[Check]:
    """Only arms of one experiment are meant to be of equal size."""
    if not _share_experiment(a, b):
        return
    sizes = [_height(a), _height(b)]
    p = proportions.sample_ratio(sizes).p_value
    text = f"arms of {sizes[0]:,} and {sizes[1]:,} units (p = {p:.2g} for equal sizes)"
    if p < MISMATCH:
        text = f"sample-ratio mismatch: {text}; something decides which trials arrive"
    yield Check(name="sample_ratio", passed=p >= MISMATCH, severity="error", text=text, value=p)


def _share_experiment(a: Arm, b: Arm) -> bool:
    ids = [set(arm.table.units["experiment_id"].drop_nulls().unique()) for arm in (a, b) if arm.table is not None]
    return len(ids) == 2 and len(ids[0]) == 1 and ids[0] == ids[1]


def _both_arms(a: Arm, b: Arm) -> Check:
    """A unit cannot have had both treatments."""
    name = "trial_id" if a.table is not None and a.table.unit == "trial" else "span_key"
    assert a.table is not None
    assert b.table is not None
    if name == "trial_id":
        one, two = (set(arm.table.units["trial_id"].drop_nulls()) for arm in (a, b) if arm.table is not None)
        both = len(one & two)
    else:
        keys = ["experiment_id", "start_ns", "latency_ms", "trial_id"]
        frames = [arm.table.units.select(pl.col(key) for key in keys if key in arm.table.units.columns).drop_nulls("start_ns")
                  for arm in (a, b) if arm.table is not None]  # fmt: skip
        both = frames[0].join(frames[1], on=frames[0].columns, how="semi", nulls_equal=True).height
    text = f"{both:,} units are in both arms" if both else "no unit is in both arms"
    return Check(name="crossover", passed=not both, severity="error", text=text, value=float(both))


def _repeats(a: Arm, b: Arm) -> Iterator[Check]:
    """The same repetition of an item twice in an arm is a duplicate, not more data."""
    twice = 0
    for arm in (a, b):
        assert arm.table is not None
        units = arm.table.units
        if "repetition" in units.columns and arm.table.unit == "trial":
            # One that was cut off and run again after a crash is one trial.
            whole = ~pl.col("is_interrupted")
            known = units.filter(pl.col("item_id").is_not_null() & pl.col("repetition").is_not_null() & whole)
            twice += known.height - known.unique(["experiment_id", "condition", "item_id", "repetition"]).height
    text = f"{twice:,} trials repeat an item's repetition" if twice else "no repetition of an item occurs twice"
    yield Check(name="duplicates", passed=not twice, severity="warning", text=text, value=float(twice))


def _lost(a: Arm, b: Arm) -> Iterator[Check]:
    count = sum(lost(arm.subject) for arm in (a, b) if arm.subject is not None)
    text = f"{count:,} spans were lost in capture" if count else "nothing was lost in capture"
    yield Check(name="lost", passed=not count, severity="warning", text=text, value=float(count))


def _models(a: Arm, b: Arm) -> Iterator[Check]:
    """An alias that was served by several revisions in the run is several treatments under one name."""
    mixed: dict[str, int] = {}
    for arm in (a, b):
        assert arm.table is not None
        calls = arm.table.calls
        if "response_model" in calls.columns:
            served = (
                calls.filter(pl.col("response_model").is_not_null())
                .group_by("model")
                .agg(pl.col("response_model").n_unique())
            )
            mixed |= {row[0]: row[1] for row in served.rows() if row[1] > 1}
    names = ", ".join(f"{model} ({n} revisions)" for model, n in sorted(mixed.items()))
    text = f"mixed served-model revisions: {names}" if mixed else "each model was served by one revision"
    yield Check(name="model_revisions", passed=not mixed, severity="warning", text=text, value=float(len(mixed)))


def _missing(a: Arm, b: Arm) -> Iterator[Check]:
    """Items that only one arm has: trials that are missing by condition."""
    sets = []
    for arm in (a, b):
        assert arm.table is not None
        items = arm.table.units["item_id"]
        if items.null_count() == items.len():
            return
        sets.append(set(items.drop_nulls()))
    apart = len(sets[0] ^ sets[1])
    if not sets[0] & sets[1]:
        return
    total = len(sets[0] | sets[1])
    text = f"{apart:,} of {total:,} items are in one arm only" if apart else f"both arms have all {total:,} items"
    yield Check(name="missing_items", passed=not apart, severity="warning", text=text, value=float(apart))


def _interrupted(a: Arm, b: Arm) -> Check:
    counts = [int(arm.table.units["is_interrupted"].sum()) for arm in (a, b) if arm.table is not None]
    text = f"{counts[0]:,} and {counts[1]:,} units were interrupted; they are in no estimate"
    return Check(name="interrupted", passed=not any(counts), severity="warning", text=text, value=float(sum(counts)))


def _interleaved(x: Sample, y: Sample) -> Check:
    """Arms one after the other share every drift with the treatment; random order keeps the test's level."""
    times = np.concatenate([x.order, y.order])
    if not times.any() or np.ptp(times) == 0:
        return Check(name="interleaved", passed=True, severity="info", text="the order of the arms is not known")
    order = np.argsort(times, kind="stable")
    arm = np.concatenate([np.zeros(x.n), np.ones(y.n)])[order]
    switches = float((np.diff(arm) != 0).mean()) if arm.size > 1 else 0.0
    share = x.n / arm.size
    expected = 2 * share * (1 - share)
    is_mixed = switches >= _STEPS * expected and switches * arm.size > 2
    lag = _lag_one(np.concatenate([_centred(x), _centred(y)])[order])
    text = f"arms alternate {switches / expected:.0%} as often as in random order" if expected else "there is one arm"
    if lag is not None:
        text += f", lag-1 autocorrelation {lag:.2f}"
    drifts = not is_mixed and (lag is None or abs(lag) >= _DRIFT or not _overlap(x, y))
    if drifts:
        text = f"not interleaved: {text}; a drift in time cannot be told from the effect"
    return Check(name="interleaved", passed=not drifts, severity="warning", text=text, value=switches)


def _overlap(x: Sample, y: Sample) -> bool:
    return bool(x.order.min() <= y.order.max() and y.order.min() <= x.order.max())


def _centred(sample: Sample) -> np.ndarray:
    values = np.log(sample.values) if bool((sample.values > 0).all()) else sample.values
    return np.asarray(values - values.mean())


def _lag_one(values: np.ndarray) -> float | None:
    try:
        return series.autocorrelation(values)
    except NotEnoughData:
        return None


def _items(a: Arm, b: Arm, x: Sample, y: Sample, design: Design) -> Check:
    """Units that share an item, a session, a trial or a trace are not independent."""
    shared = int(shared_items(x, y).size)
    if x.items is None and design == "independent":
        level = dependence.too_few([arm.table.units for arm in (a, b) if arm.table is not None])
        text = "units carry no item ids: they are taken as independent"
        if level is not None:
            what = level.removesuffix("_id")
            text = (
                f"the units lie in fewer than {dependence.FEWEST} {what}s an arm, too few to tell how far they depend: "
                f"they are taken as independent, so intervals may be too narrow. Compare per {what}, or give item ids"
            )
        return Check(
            name="independence", passed=level is None, severity="info" if level is None else "warning", text=text
        )
    what = (x.level or dependence.ITEM).removesuffix("_id")
    text = {
        "paired": f"paired on {shared:,} shared items",
        "clustered": f"{what}s repeat: standard errors are by {what}",
        "independent": "no item repeats",
    }[design]
    return Check(name="independence", passed=True, severity="info", text=text, value=float(shared))


def _censored(x: Sample, y: Sample) -> Check:
    cut = int(x.is_censored.sum() + y.is_censored.sum())
    text = f"{cut:,} timeouts: quantiles are Kaplan-Meier, means are lower bounds" if cut else "no timeouts"
    return Check(name="censoring", passed=not cut, severity="warning", text=text, value=float(cut))


def _notes(a: Arm, b: Arm) -> Iterator[Check]:
    """What was said after the declaration: nothing is wrong with it, but a reader has to know."""
    notes = [note for arm in (a, b) if arm.subject is not None for note in arm.subject.annotations]
    for name, found, say in (
        ("amended", amendments.of(notes), amendments.sentence),
        ("exclusions", exclusions(tuple(notes)), _exclusion),
    ):
        # Arms of one experiment share its notes.
        if told := list(dict.fromkeys(say(note) for note in found)):
            yield Check(name=name, passed=False, severity="info", text="; ".join(told), value=float(len(told)))


def _exclusion(note: Mapping[str, Any]) -> str:
    what = ", ".join(f"{key}={value}" for key, value in (note.get("where") or {}).items()) or ", ".join(trial_ids(note))
    return f"excluded were {what}: {note.get('reason') or 'no reason was given'}"


def _height(arm: Arm) -> int:
    return 0 if arm.table is None else arm.table.units.height
