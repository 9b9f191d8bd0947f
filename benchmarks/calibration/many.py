"""Many conditions, and many looks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calibration.data import heavy
from calibration.judged import ALPHA, CONSERVATIVE, REPORTED, SIZE, Cell, Rng
from otel_research.analysis.stats import corrections, sequential, tests


def twelve(correction: str) -> Callable[[Rng], bool]:
    """One baseline, 12 conditions without an effect: is any called different?"""

    def hit(rng: Rng) -> bool:
        base = heavy(rng, 100)
        p = [tests.log_welch(heavy(rng, 100), base).p_value for _ in range(12)]
        return min(corrections.adjust(p, correction)) < ALPHA

    return hit


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
            found = tests.welch(x[:size], y[:size])
            if rule == "sequence":
                if sequential.sequence_p_value(found.estimate, found.se, 2 * size, tuning=2 * n) < ALPHA:
                    return True
            elif abs(_as_z(found)) > bound:
                return True
        return False

    return hit


def _as_z(found: tests.Outcome) -> float:
    """The t test's p-value as a normal deviate: what a boundary in z is compared with."""
    from scipy.special import ndtri

    return -float(ndtri(found.p_value / 2))


CELLS: tuple[Cell, ...] = (
    Cell("many conditions", "12 null conditions", "log-Welch, Holm", twelve("holm"), CONSERVATIVE, 1500),
    Cell("many conditions", "12 null conditions", "log-Welch, Benjamini-Hochberg", twelve("bh"), CONSERVATIVE, 1500),
    Cell("many conditions", "12 null conditions", "uncorrected (the mistake)", twelve("none"), REPORTED, 1500),
    *(
        Cell("peeking", f"{looks} looks", "alpha spending, O'Brien-Fleming type", peeks(looks, "spending"), SIZE, 1500)
        for looks in (5, 10, 20, 40)
    ),
    Cell("peeking", "40 looks", "asymptotic confidence sequence", peeks(40, "sequence"), CONSERVATIVE, 1500),
    Cell("peeking", "20 looks", "p < .05 at any look (the mistake)", peeks(20, "naive"), REPORTED, 1500),
)  # fmt: skip
