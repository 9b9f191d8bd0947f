"""The table of correct digits on NIST's certified data sets: `python tests/analysis/stats/nist_digits.py` prints it.

LRE, the log relative error -log10(|got - certified| / |certified|), counts correct significant digits.
"""

from __future__ import annotations

import math

from reference import KINDS, Case, cases

MOST = 15.0
"""Certified values have 15 digits, so no more can be shown to be right."""

HEAD = """# Correct digits on NIST's certified data sets

The [Statistical Reference Datasets](https://www.itl.nist.gov/div898/strd/) of NIST come with values certified to
15 digits. The tables give the log relative error of our functions, -log10(|got - certified| / |certified|): the
number of correct significant digits, at most 15. `tests/analysis/stats/test_accuracy.py` compares this page with
what the functions give.

What a double can hold limits the last sets: SmLs07 to 09 have 13 constant leading digits, and the exact F of the
nearest doubles differs from the certified one after the fourth digit. Centring before squaring is what gets
there: uncentred least squares on SmLs09 has 1.0 correct digits.
"""


def digits(got: float, certified: float) -> float:
    """Correct significant digits of `got`."""
    if got == certified:
        return MOST
    error = abs(got - certified) / (abs(certified) if certified else 1.0)
    return min(MOST, max(0.0, -math.log10(error)))


def rows(kind: str, names: tuple[str, ...]) -> list[tuple[str, list[float | None]]]:
    """One row per NIST case of a kind: its name and the digits of each number."""
    found = []
    for case in cases():
        if case.kind != kind or not case.id.startswith("nist_"):
            continue
        got = KINDS[kind](case)
        found.append((_name(case), [_one(case, got, name) for name in names]))
    return sorted(found)


def table() -> str:
    """The page `docs/accuracy.md`."""
    univariate = dict(rows("descriptive", ("mean", "stdev")))
    lag = dict(rows("autocorrelation", ("r1",)))
    lines = [HEAD, "| univariate set | mean | standard deviation | lag-1 autocorrelation |", "|---|---:|---:|---:|"]
    lines += [_line(name, [*univariate[name], *lag.get(name, [None])]) for name in univariate]
    names = ("F", "ss_between", "ss_within", "eta_squared", "residual_sd")
    lines += [
        "",
        "| one-way set | F | SS between | SS within | R squared | residual sd |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [_line(name, values) for name, values in rows("anova_oneway", names)]
    return "\n".join(lines) + "\n"


def _one(case: Case, got: dict[str, float], name: str) -> float | None:
    return digits(got[name], case.expected[name]) if name in case.expected else None


def _name(case: Case) -> str:
    return case.id.rsplit("_", 1)[-1].capitalize().replace("Smls", "SmLs").replace("acc", "Acc").replace("Pid", "PiD")


def _line(name: str, values: list[float | None]) -> str:
    return f"| {name} | " + " | ".join("" if value is None else f"{value:.1f}" for value in values) + " |"


if __name__ == "__main__":
    print(table(), end="")
