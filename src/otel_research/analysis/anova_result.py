"""What `anova` returns: tests, effect sizes with intervals, means, comparisons, and the checks behind them."""

from __future__ import annotations

import msgspec

from otel_research.analysis.result import Result, number
from otel_research.analysis.stats.groups import OneWay
from otel_research.analysis.stats.linear import Marginal, SimpleEffect, Term
from otel_research.analysis.stats.mixed import WaldTerm
from otel_research.analysis.stats.outcome import Outcome
from otel_research.analysis.stats.posthoc import Comparison


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The raw numbers of one cell of the design, in the response's own unit."""

    n: int
    mean: float
    stdev: float | None
    geomean: float | None


class Assumption(msgspec.Struct, frozen=True, kw_only=True):
    """One assumption of the model; `holds` is None where it could not be judged."""

    holds: bool | None
    p_value: float | None
    text: str


class Anova(Result, frozen=True, kw_only=True):
    """An analysis of variance. One-way, quote `welch`; with several factors, quote `terms`.

    Differences between groups are later minus earlier (or group minus control), on the scale of
    `transform` where there is one.
    """

    response: str
    measure: str
    """The response's own unit."""
    transform: str | None
    factors: tuple[str, ...]
    block: str | None
    type: int
    """Type of the sums of squares."""
    p_value: float | None
    """Of the test to quote: Welch's F one-way; None with several factors (see `terms`)."""
    one_way: OneWay | None = None
    welch: Outcome | None = None
    kruskal: Outcome | None = None
    brown_forsythe: Outcome | None = None
    terms: dict[str, Term] = msgspec.field(default_factory=dict)
    mixed_terms: dict[str, WaldTerm] = msgspec.field(default_factory=dict)
    """With items as random effects: Wald tests of the terms."""
    icc: float | None = None
    """With items as random effects: share of variance between items."""
    residual_ss: float | None = None
    residual_df: float | None = None
    groups: dict[str, Group] = msgspec.field(default_factory=dict)
    marginal_means: dict[str, Marginal] = msgspec.field(default_factory=dict)
    simple_effects: dict[str, SimpleEffect] = msgspec.field(default_factory=dict)
    comparisons: dict[str, Comparison] = msgspec.field(default_factory=dict)
    empty_cells: tuple[dict[str, str], ...] = ()
    dropped_terms: tuple[str, ...] = ()
    """Interactions that the empty cells leave without an answer."""
    checks: dict[str, Assumption] = msgspec.field(default_factory=dict)

    def to_markdown(self) -> str:
        """Tables of tests, means and comparisons, then what to be wary of."""
        lines = [f"**{self.heading()}**, response {self.response} ({self.measure})"]
        lines += _table(("test", "statistic", "df", "p", "effect size"), self._tests())
        lines += _table(("group", "n", "mean", "standard deviation"), self._groups())
        lines += _table(("comparison", "difference", "interval", "adjusted p"), self._compared())
        lines += _table(("simple effect", "F", "df", "p"), self._simple())
        lines += _table(("marginal mean", "mean", "interval"), self._marginals())
        lines += [""] * bool(self.warnings) + [f"- {w.severity}: {w.text}" for w in self.warnings]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.to_markdown()

    def _tests(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for name, outcome in (("Welch F", self.welch), ("Kruskal-Wallis", self.kruskal)):
            if outcome is not None:
                rows.append((name, number(outcome.statistic), _df(outcome.df), _p(outcome.p_value), ""))
        for term in self.terms.values():
            size = f"partial eta² {term.partial_eta_squared:.3f}"
            if term.partial_eta_interval is not None:
                low, high = term.partial_eta_interval.low or 0.0, term.partial_eta_interval.high or 0.0
                size += f" [{low:.3f}, {high:.3f}]"
            rows.append((term.name, number(term.f), _df((term.df, self.residual_df or 0.0)), _p(term.p_value), size))
        for wald in self.mixed_terms.values():
            rows.append((f"{wald.name} (mixed)", number(wald.chi2), _df(wald.df), _p(wald.p_value), ""))
        return rows

    def _groups(self) -> list[tuple[str, ...]]:
        return [(name, number(g.n), number(g.mean), number(g.stdev)) for name, g in self.groups.items()]

    def _compared(self) -> list[tuple[str, ...]]:
        return [
            (name, number(c.difference), "" if c.interval is None else str(c.interval), _p(c.p_adjusted))
            for name, c in self.comparisons.items()
        ]

    def _simple(self) -> list[tuple[str, ...]]:
        return [(name, number(e.f), _df((e.df, e.df_error)), _p(e.p_value)) for name, e in self.simple_effects.items()]

    def _marginals(self) -> list[tuple[str, ...]]:
        return [(name, number(m.mean), str(m.interval)) for name, m in self.marginal_means.items()]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    cells = [tuple(cell.replace("|", "\\|") for cell in row) for row in rows]
    return ["", *("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *cells))]


def _df(df: float | tuple[float, float] | None) -> str:
    if df is None:
        return ""
    return ", ".join(f"{part:.4g}" for part in (df if isinstance(df, tuple) else (df,)))


def _p(value: float | None) -> str:
    return "" if value is None else "< .0001" if value < 0.0001 else f"{value:.4f}"
