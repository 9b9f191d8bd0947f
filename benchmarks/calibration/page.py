"""docs/calibration.md from the outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from calibration.judged import Outcome


def page(outcomes: Sequence[Outcome]) -> str:
    """docs/calibration.md."""
    lines = [
        "# Calibration: do the numbers keep their promises?",
        "",
        "Made by `nox -s calibration` (`benchmarks/calibration/`, seeded). Each row simulates data whose truth is",
        "known and counts how often a test rejects, an interval holds the truth, or an effect is found. The share is",
        "given with twice its Monte Carlo standard error, and its band is judged within that error: size at most 7 %",
        "(3 to 7 % for the continuous tests that drive a verdict), coverage at least 93 % (93 to 97 % likewise), power",
        "78 to 82 % at the n that `power()` recommends. Fisher, McNemar, Newcombe and exact Poisson are conservative",
        "by construction; Wilson is judged on its mean coverage over p. Rows without a band are shown for contrast.",
        "A check of the design is to speak up in 95 % of the wrong designs it is for, and in at most 2 % of clean ones:",
        "each finding of `validate` and each check of `compare` has a row in both tables. A false alarm is shown for the",
        "clean design where it is most frequent.",
        "",
        f"Each row has a seed of its own and is the same whatever runs beside it ({_versions()}).",
        "",
        "Heavy tail: log-normal latency with sigma 0.5, 3 % of calls slower by e^1.6.",
        "",
        "Known limits, left in view: Welch's test of raw means rejects too often where a heavy tail meets very",
        "unequal arms (the geometric mean, latency's default estimand, does not), so keep arms of equal size when",
        "mean cost decides. The percentile bootstrap of one arm's tail quantile falls short near its smallest n, so",
        "`calculate_metrics` widens it to the binomial limits; of two arms' difference it holds its level.",
    ]
    for section in dict.fromkeys(outcome.section for outcome in outcomes):
        lines += ["", f"## {section.capitalize()}", ""]
        lines += ["| situation | method | simulations | share | band | holds |", "|---|---|---:|---:|---|---|"]
        lines += [_line(outcome) for outcome in outcomes if outcome.section == section]
    return "\n".join(lines) + "\n"


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("numpy", "polars", "scipy", "statsmodels"))


def _line(o: Outcome) -> str:
    band = "" if o.band is None else f"{100 * o.band[0]:.0f} to {100 * o.band[1]:.0f} %"
    held = "" if o.band is None else "yes" if o.holds else "**no**"
    return f"| {o.situation} | {o.method} | {o.n:,} | {100 * o.share:.1f} ± {100 * o.error:.1f} % | {band} | {held} |"
