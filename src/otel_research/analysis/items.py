"""What items tell: how much they differ, which ones flipped (with both outputs), and pass@k."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl

from otel_research.analysis.arms import Arm, Sample, item_means, shared_items
from otel_research.analysis.dependence import ITEM
from otel_research.analysis.result import Interval
from otel_research.analysis.stats.agreement import variance_components
from otel_research.analysis.stats.events import mean_pass_at_k
from otel_research.errors import NotEnoughData
from otel_research.spans import values

MOST_FLIPS = 50
_OUTPUTS = (
    "gen_ai.output.messages", "output.value", "llm.output_messages.0.message.content", "gen_ai.completion.0.content",
    "gen_ai.completion", "langfuse.observation.output", "output",
)  # fmt: skip


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """An item that one arm mostly got right and the other mostly not."""

    item: str
    baseline: float
    """Share of the arm's trials that succeeded."""
    candidate: float
    baseline_output: str | None = None
    candidate_output: str | None = None


class PassAt(msgspec.Struct, frozen=True, kw_only=True):
    """The chance that at least one of k trials of an item succeeds (Chen et al. 2021)."""

    k: int
    baseline: float
    candidate: float
    ci: dict[str, Interval] = {}


class Items(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome by items; variances are of both arms' units, arms taken apart."""

    n_items: int
    between: float | None
    """Variance of the true item means."""
    within: float | None
    """Variance of trials within an item."""
    icc: float | None
    """between / (between + within)."""
    n_flips: int = 0
    flips: tuple[Flip, ...] = ()
    """At most 50, those that got worse first."""
    pass_at: tuple[PassAt, ...] = ()


def report(a: Arm, b: Arm, x: Sample, y: Sample, outcome: str, *, is_binary: bool, alpha: float) -> Items | None:
    """Items of one outcome, or None where no item is in both arms or none repeats."""
    if x.items is None or y.items is None or x.level != ITEM:
        return None
    shared = shared_items(x, y)
    if not shared.size:
        return None
    between, within, icc = _components(x, y)
    flips = _flips(a, b, x, y, shared, outcome) if is_binary else []
    return Items(
        n_items=int(shared.size),
        between=between,
        within=within,
        icc=icc,
        n_flips=len(flips),
        flips=tuple(flips[:MOST_FLIPS]),
        pass_at=_pass_at(x, y, alpha) if is_binary else (),
    )


def _components(x: Sample, y: Sample) -> tuple[float | None, float | None, float | None]:
    """Within each arm, so that the treatment is no part of either variance."""
    found = []
    for sample in (x, y):
        try:
            found.append(variance_components(sample.values, sample.items))  # type: ignore[arg-type]
        except NotEnoughData:
            continue
    if not found:
        return None, None, None
    between = float(np.mean([max(part.between, 0.0) for part in found]))
    within = float(np.mean([part.within for part in found]))
    return between, within, between / (between + within) if between + within > 0 else None


def _pass_at(x: Sample, y: Sample, alpha: float) -> tuple[PassAt, ...]:
    """k = 1, 2, 4, ... up to the fewest trials that an item has."""
    counts = [(s.per_item[s.distinct], np.bincount(s.items, s.values)[s.distinct]) for s in (x, y)]  # type: ignore[arg-type]
    fewest = int(min(sizes.min() for sizes, _ in counts))
    made, k = [], 1
    while k <= fewest and fewest > 1:
        estimates = [
            mean_pass_at_k([(int(n), int(c)) for n, c in zip(sizes, correct, strict=True)], k, 1 - alpha)
            for sizes, correct in counts
        ]
        names = ("baseline", "candidate")
        ci = {name: e.interval for name, e in zip(names, estimates, strict=True) if e.interval is not None}
        made.append(PassAt(k=k, baseline=estimates[0].value, candidate=estimates[1].value, ci=ci))
        k *= 2
    return tuple(made)


def _flips(a: Arm, b: Arm, x: Sample, y: Sample, shared: np.ndarray, outcome: str) -> list[Flip]:
    """Items whose majority outcome differs between the arms, regressions first."""
    base, cand = item_means(x, shared), item_means(y, shared)
    changed = np.flatnonzero((base > 0.5) != (cand > 0.5))
    order = sorted(changed, key=lambda at: (cand[at] - base[at], int(shared[at])))
    names = item_names([a, b], outcome)
    picked = [names[int(shared[at])] for at in order[:MOST_FLIPS]]
    first, second = outputs(a, picked), outputs(b, picked)
    return [
        Flip(
            item=names[int(shared[at])],
            baseline=float(base[at]),
            candidate=float(cand[at]),
            baseline_output=first.get(names[int(shared[at])]),
            candidate_output=second.get(names[int(shared[at])]),
        )
        for at in order
    ]


def item_names(arms: list[Arm], outcome: str) -> list[str]:
    """The items' names in the order of their codes (see `arms.samples`)."""
    frames = [arm.frames[outcome].filter(pl.col("value").is_not_null())["item_id"] for arm in arms]
    return [str(name) for name in pl.concat(frames).unique().sort()]


def outputs(arm: Arm, items: list[str]) -> Mapping[str, str]:
    """What the arm answered for these items: the output of the last call of the last trial of each."""
    if arm.subject is None or not items:
        return {}
    rows = arm.subject.spans.filter(pl.col("item_id").is_in(items) & pl.col("aside").is_null())
    rows = rows.filter(pl.col("is_call") | (pl.col("role") == "trial")).select("item_id", "start_ns", "attributes")
    found: dict[str, str] = {}
    for item, text in rows.sort("start_ns").select("item_id", "attributes").collect().rows():
        answer = _output(text)
        if answer is not None:
            found[str(item)] = answer
    return found


def _output(text: str | None) -> str | None:
    attributes: Any = values.from_json(text) if text else {}
    for key in _OUTPUTS:
        answer = attributes.get(key) if isinstance(attributes, dict) else None
        if answer is not None:
            return answer if isinstance(answer, str) else values.to_json({"output": answer})
    return None
