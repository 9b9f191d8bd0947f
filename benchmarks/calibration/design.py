"""Whether the checks of a design speak up where they should, and only there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from calibration.data import autoregressive, clustered, decides, spans
from calibration.judged import CAUGHT, SILENT, SIZE, Cell, Rng
from otel_research.analysis.compare import compare
from otel_research.analysis.quality import validate
from otel_research.analysis.subject import Subject

ITEMS, REPEATS = 40, 2
Arms = tuple[Subject, Subject]


def clean(rng: Rng) -> Arms:
    """40 items, 2 trials of each in either arm, in random order; one model, one call per trial."""
    item, arm = np.repeat(np.arange(ITEMS), 2 * REPEATS), np.tile([False, True] * REPEATS, ITEMS)
    order = rng.permutation(item.size)
    return spans(rng, clustered(rng, item)[order], arm[order], item[order])


def whole(arms: Arms) -> Subject:
    """Both arms as the one experiment they are of."""
    return Subject(pl.concat([arm.spans for arm in arms]))


def fails(make: Callable[[Rng], Arms], name: str | None = None) -> Callable[[Rng], bool]:
    """Whether `compare` has a failed check (of that name)."""

    def hit(rng: Rng) -> bool:
        found = compare(*make(rng), metrics="latency")
        return any(not check.passed and name in (None, check.name) for check in found.checks)

    return hit


def finds(make: Callable[[Rng], Arms], code: str | None = None) -> Callable[[Rng], bool]:
    """Whether `validate` has a finding (with that code)."""
    return lambda rng: any(code in (None, one.code) for one in validate(whole(make(rng))).findings)


def one_after_the_other(rng: Rng) -> Arms:
    """One arm after the other under AR(1)."""
    return spans(rng, autoregressive(rng, 240, 0.5), np.arange(240) < 120, None)


def changed(make: Callable[[Rng, Subject], pl.LazyFrame]) -> Callable[[Rng], Arms]:
    """A clean experiment with the rows of the candidate changed."""

    def arms(rng: Rng) -> Arms:
        base, cand = clean(rng)
        return base, Subject(make(rng, cand))

    return arms


def losing_trials(rng: Rng, cand: Subject) -> pl.LazyFrame:
    """Three of four slow trials of the candidate never arrive."""
    trials = cand.spans.filter(pl.col("role") == "trial").collect()
    slow = trials.filter(pl.col("duration_ms") > trials["duration_ms"].quantile(0.25, "linear"))["trial_id"]
    return cand.spans.filter(~pl.col("trial_id").is_in(slow.sample(fraction=0.75, seed=1).implode()))


def losing_items(rng: Rng, cand: Subject) -> pl.LazyFrame:
    """A tenth of the items has no trial in the candidate."""
    return cand.spans.filter(~pl.col("item_id").is_in([f"q{at}" for at in range(ITEMS // 10)]))


def two_revisions(rng: Rng, cand: Subject) -> pl.LazyFrame:
    """The served model changes half-way."""
    late = pl.col("start_ns") > pl.col("start_ns").median()
    served = pl.when(late).then(pl.lit("m-0801")).otherwise(pl.lit("m-0601"))
    return cand.spans.with_columns(request_model=pl.lit("m"), response_model=served)


def cached(rng: Rng, cand: Subject) -> pl.LazyFrame:
    """Repetitions are answered from a cache, with the response id of the first."""
    return cand.spans.with_columns(response_id=pl.when("is_call").then(pl.lit("resp-") + pl.col("item_id")))


def crossed(rng: Rng) -> Arms:
    """A tenth of the trials has calls of both conditions."""
    base, cand = clean(rng)
    strays = cand.spans.filter((pl.col("role") == "call") & (pl.col("start_ns") % (10 * 10**9) == 0))
    return Subject(pl.concat([base.spans, strays.with_columns(condition=pl.lit("baseline"))])), cand


def calls_of_trials(rng: Rng) -> bool:
    """20 trials of 10 dependent calls in either arm, no item ids, compared per call: is it called different?"""
    trial = np.repeat(np.arange(40), 10)
    n = trial.size
    latency = np.exp(6.5 + rng.normal(0, 0.5, 40)[trial] + rng.normal(0, 0.3, n))
    frame = pl.DataFrame(
        {
            "condition": np.where(trial % 2, "b", "a"),
            "trial_id": [f"{at:016x}" for at in trial],
            "duration_ms": latency,
            "start_ns": np.arange(n) * 10**9,
            "role": "call",
            "is_call": True,
        }
    )
    rows = Subject(frame.lazy())
    found = compare(rows.where({"condition": "a"}), rows.where({"condition": "b"}), metrics="latency", unit="call")
    return decides(found.verdict)


CELLS: tuple[Cell, ...] = (
    Cell("size", "spans: 10 calls in each of 40 trials, no items", "compare() per call", calls_of_trials, SIZE, 200),
    Cell("checks", "clean: 40 shared items, random order", "compare() fails a check", fails(clean), SILENT, 300),
    Cell("checks", "clean: 40 shared items, random order", "validate() finds anything", finds(clean), SILENT, 100),
    Cell("checks", "AR(1) rho .5, one arm after the other", "compare(): interleaved", fails(one_after_the_other, "interleaved"), CAUGHT, 150),
    Cell("checks", "AR(1) rho .5, one arm after the other", "validate(): not_interleaved", finds(one_after_the_other, "not_interleaved"), CAUGHT, 150),
    Cell("checks", "half of the candidate's trials never arrive", "compare(): sample_ratio", fails(changed(losing_trials), "sample_ratio"), CAUGHT, 150),
    Cell("checks", "half of the candidate's trials never arrive", "validate(): imbalance", finds(changed(losing_trials), "imbalance"), CAUGHT, 150),
    Cell("checks", "a tenth of the items is missing in one arm", "compare(): missing_items", fails(changed(losing_items), "missing_items"), CAUGHT, 150),
    Cell("checks", "a tenth of the items is missing in one arm", "validate(): missing_trials", finds(changed(losing_items), "missing_trials"), CAUGHT, 150),
    Cell("checks", "the served model changes half-way", "compare(): model_revisions", fails(changed(two_revisions), "model_revisions"), CAUGHT, 60),
    Cell("checks", "the served model changes half-way", "validate(): model_revisions", finds(changed(two_revisions), "model_revisions"), CAUGHT, 60),
    Cell("checks", "repetitions answered from a cache", "validate(): repeated_responses", finds(changed(cached), "repeated_responses"), CAUGHT, 60),
    Cell("checks", "trials with calls of both conditions", "validate(): crossover", finds(crossed, "crossover"), CAUGHT, 60),
)  # fmt: skip
