"""Many conditions, and many looks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from calibration.data import arms, decides, heavy, rows
from calibration.judged import ALPHA, CONSERVATIVE, COVERAGE_LOW, REPORTED, SIZE, Cell, Family, Rng
from otel_research.analysis.compare import compare
from otel_research.analysis.interim import interim
from otel_research.analysis.stats import corrections, sequential, two_samples
from otel_research.analysis.subject import Subject
from otel_research.experiments import ExperimentRecord


def twelve(correction: str) -> Callable[[Rng], bool]:
    """One baseline, 12 conditions without an effect: is any called different?"""

    def hit(rng: Rng) -> bool:
        base = heavy(rng, 100)
        p = [two_samples.log_welch(heavy(rng, 100), base).p_value for _ in range(12)]
        return min(corrections.adjust(p, correction)) < ALPHA

    return hit


ANY, DUNNETT, LEFT_OUT = "any is better or worse", "any by Dunnett", "an arm is left out of tied_with_best"


def twelve_compared(rng: Rng) -> set[str]:
    """The same through `compare`: what it claims though nothing is there."""
    found = compare(heavy(rng, 100), [heavy(rng, 100) for _ in range(12)])
    every = (found, *found.others)
    claims = {
        ANY: any(decides(one.verdict) for one in every),
        DUNNETT: any(one.effects["latency"].tests["dunnett"].significant for one in every),
        LEFT_OUT: len(found.tied_with_best) < 13,
    }
    return {what for what, is_claimed in claims.items() if is_claimed}


def keeps_the_best(rng: Rng) -> bool:
    """One of 12 conditions is 10 % faster: is it among those tied with the best?"""
    found = compare(heavy(rng, 100), [*(heavy(rng, 100) for _ in range(11)), 0.9 * heavy(rng, 100)])
    return "candidate 12" in found.tied_with_best


def peeks(looks: int, rule: str) -> Callable[[Rng], bool]:
    """400 per arm, looked at so many times: is it ever called different?"""
    n = 400
    at = [round(n * (i + 1) / looks) for i in range(looks)]
    bounds = sequential.spending_boundary([size / n for size in at]).z if rule == "spending" else [1.96] * looks

    def hit(rng: Rng) -> bool:
        x, y = np.log(heavy(rng, n)), np.log(heavy(rng, n))
        for size, bound in zip(at, bounds, strict=True):
            if size < 10:
                continue
            found = two_samples.welch(x[:size], y[:size])
            if rule == "sequence":
                if sequential.sequence_p_value(found.estimate, found.se, 2 * size, tuning=2 * n) < ALPHA:
                    return True
            elif abs(_as_z(found)) > bound:
                return True
        return False

    return hit


def guarded(looks: int, declared: int | None, *, spending: bool) -> Callable[[Rng], bool]:
    """An experiment of 100 trials per arm, looked at so many times by `interim` (else `compare`): does any claim something?"""

    def hit(rng: Rng) -> bool:
        arm = np.where(rng.permutation(200) % 2, "candidate", "baseline")
        everything = rows(rng, heavy(rng, 200), arm, None).collect()
        notes: list[dict[str, object]] = []
        for at in np.linspace(200 / looks, 200, looks):
            so_far = everything.filter(everything["start_ns"] < int(at) * 10**9).lazy()
            record = ExperimentRecord(id="aa", name="peeked", sample_size=declared)
            base, cand = arms(Subject(so_far, record, annotations=tuple(notes)))
            if not spending:
                if decides(compare(base, cand, metrics="latency").verdict):
                    return True
                continue
            look = interim(base, cand, metric="latency")
            notes.append(look.note())
            if look.stop:
                return True
        return False

    return hit


def four_peeked(rng: Rng) -> bool:
    """Four declared scores without an effect, 9 looks by `compare` before the declared n: does any claim something?"""
    n = 200
    arm = np.where(rng.permutation(n) % 2, "candidate", "baseline")
    trials = rows(rng, heavy(rng, n), arm, None).collect().filter(pl.col("role") == "trial")
    scores = tuple(f"score_{at}" for at in range(4))
    told = [
        trials.with_columns(role=pl.lit("score"), score_name=pl.lit(name), score_value=pl.Series(rng.normal(10, 1, n)),
                            span_id=pl.col("span_id") + name)
        for name in scores
    ]  # fmt: skip
    everything = pl.concat([trials, *told], how="diagonal")
    record = ExperimentRecord(id="aa", name="peeked", sample_size=n // 2 + 1, primary=scores)
    for at in np.linspace(n / 9, n, 9):
        so_far = everything.filter(pl.col("start_ns") < int(at) * 10**9).lazy()
        found = compare(*arms(Subject(so_far, record)), metrics=scores)
        if any(decides(effect.verdict) for effect in found.effects.values()):
            return True
    return False


def _as_z(found: two_samples.Outcome) -> float:
    """The t test's p-value as a normal deviate: what a boundary in z is compared with."""
    from scipy.special import ndtri

    return -float(ndtri(found.p_value / 2))


CELLS: tuple[Cell | Family, ...] = (
    Cell("many conditions", "12 null conditions", "log-Welch, Holm", twelve("holm"), CONSERVATIVE, 1500),
    Cell("many conditions", "12 null conditions", "log-Welch, Benjamini-Hochberg", twelve("bh"), CONSERVATIVE, 1500),
    Cell("many conditions", "12 null conditions", "uncorrected (the mistake)", twelve("none"), REPORTED, 1500),
    Family("many conditions", {"12 null conditions": twelve_compared}, "compare(): {}",
           dict.fromkeys((ANY, DUNNETT, LEFT_OUT), CONSERVATIVE), 150),
    Cell("many conditions", "12 conditions, one 10 % faster", "compare(): tied_with_best holds it", keeps_the_best,
         COVERAGE_LOW, 60),
    *(
        Cell("peeking", f"{looks} looks", "alpha spending, O'Brien-Fleming type", peeks(looks, "spending"), SIZE, 1000)
        for looks in (5, 10, 20, 40)
    ),
    Cell("peeking", "40 looks", "asymptotic confidence sequence", peeks(40, "sequence"), CONSERVATIVE, 1000),
    Cell("peeking", "10 looks up to the declared n", "interim()", guarded(10, 100, spending=True), CONSERVATIVE, 150),
    Cell("peeking", "10 looks, no n declared", "interim()", guarded(10, None, spending=True), CONSERVATIVE, 150),
    Cell("peeking", "9 looks before the declared n", "compare(): better or worse", guarded(9, 101, spending=False),
         CONSERVATIVE, 120),
    Cell("peeking", "9 looks before the declared n, 4 primary scores", "compare(): any is better or worse",
         four_peeked, CONSERVATIVE, 120),
    Cell("peeking", "20 looks", "p < .05 at any look (the mistake)", peeks(20, "naive"), REPORTED, 1000),
)  # fmt: skip
