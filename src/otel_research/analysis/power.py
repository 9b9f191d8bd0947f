"""How many trials: solve for n, the detectable effect, power or alpha; from a pilot in trials, dollars and minutes.

Repeated trials of an item are worth less than new items, and items shared by the arms are worth more.
With m trials per item, ICC the share of variance between items, and rho the correlation of an item's true
values in both arms, the variance of an estimated difference from N items per arm is

    independent items   2 sd^2 (ICC + (1 - ICC)/m) / N
    shared items        2 sd^2 (ICC (1 - rho) + (1 - ICC)/m) / N

which is the design effect 1 + (m - 1) ICC of Kish (1965), and Miller (2024), eq. 9, with
omega^2 = 2 sd^2 ICC (1 - rho) and sigma^2 = sd^2 (1 - ICC).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from otel_research.analysis.pilot import Pilot, measure_pilot
from otel_research.analysis.result import Result, Warn, number
from otel_research.analysis.stats import power as laws
from otel_research.analysis.stats.outcome import by
from otel_research.errors import ConfigurationError, NotEnoughData

Design = Literal["means", "log_ratio", "proportions", "paired_proportions", "groups"]
Solved = Literal["n", "effect", "power", "alpha"]

_MOST = 1e9


class Power(Result, frozen=True, kw_only=True):
    """A sample size and what it buys. `alpha` and one of the others may be what was solved for."""

    design: Design
    solved_for: Solved
    effect: float
    """What is to be detected: a difference of means (in the outcome's unit), a relative change (-0.1 is 10 % less),
    a difference of success rates, or Cohen's f of k groups."""
    power: float
    n_exact: float
    """Trials per condition before rounding up."""
    n_per_condition: int
    """Trials per condition, whole items."""
    items_per_condition: int
    trials_per_item: int
    conditions: int
    n_total: int
    icc: float
    rho: float | None
    """None: the arms do not share items."""
    dollars: float | None = None
    minutes: float | None = None

    def __str__(self) -> str:
        found = {
            "n": f"{self.n_per_condition:,} trials per condition ({self.n_total:,} in all)",
            "effect": f"a detectable effect of {number(self.effect)}",
            "power": f"power {self.power:.3f}",
            "alpha": f"alpha {self.alpha:.4g}",
        }[self.solved_for]
        text = (
            f"{found}: design {self.design}, effect {number(self.effect)}, n = {self.n_per_condition:,} per condition"
        )
        text += f", power {self.power:.2f}, alpha {self.alpha:g}"
        if self.dollars is not None:
            text += f"; about ${self.dollars:,.2f}"
        if self.minutes is not None:
            text += f"; about {self.minutes:,.1f} minutes"
        return "\n".join([text, *(f"  {w.severity}: {w.text}" for w in self.warnings)])


@dataclass(frozen=True)
class _Setting:
    """The numbers that a design needs; `effect` is in the terms of the caller."""

    design: Design
    sd: float
    p: float
    discordant: float | None
    conditions: int
    icc: float
    trials_per_item: int
    rho: float | None
    alternative: str


def power(
    effect: float | None = None,
    *,
    design: Design | None = None,
    n: int | None = None,
    power: float | None = None,
    alpha: float | None = 0.05,
    sd: float | None = None,
    p: float | None = None,
    discordant: float | None = None,
    conditions: int = 2,
    icc: float | None = None,
    trials_per_item: int | None = None,
    rho: float | None = None,
    shared_items: bool | None = None,
    alternative: str = "two-sided",
    pilot: Any = None,
    outcome: str = "latency",
    concurrency: int = 1,
) -> Power:
    """Leave out one of n, effect, power and alpha: it is solved for (power is 0.8 where n or effect is).

    Args:
        effect: what to detect. "means": a difference in the outcome's unit (standard deviations where `sd` is
            left out); "log_ratio": a relative change, -0.1 for 10 % less; "proportions" and "paired_proportions": a
            difference of success rates; "groups": Cohen's f.
        design: default "log_ratio", or "proportions" (paired where items are shared) for `outcome="success_rate"`.
        n: trials per condition.
        sd: standard deviation of one trial; of its logarithm for "log_ratio".
        p: success rate of the baseline.
        discordant: share of items whose outcome differs between the arms; default: as if arms were independent.
        conditions: number of groups.
        icc: share of the variance between items; 0 where trials are all of different items.
        trials_per_item: repetitions of each item in a condition.
        rho: correlation of an item's true values in both arms; needs shared items.
        shared_items: every item is run in every condition (paired analysis).
        pilot: an experiment (subject) that the missing numbers are estimated from; the answer is then also in
            dollars and minutes.
        outcome: which outcome of the pilot.
        concurrency: trials that run at once, for the minutes.

    Raises:
        ConfigurationError: an unknown design, none or several of the four left out, or an effect that cannot be.
        NotEnoughData: the pilot does not tell what is missing.
    """
    found = None if pilot is None else measure_pilot(pilot, outcome)
    chosen = design or _default_design(outcome, shared_items)
    warnings: list[Warn] = list(found.warnings) if found is not None else []
    setting = _setting(
        chosen, found, sd, p, discordant, conditions, icc, trials_per_item, rho, shared_items, alternative
    )
    if effect is None and n is None and found is not None and power is None:
        raise ConfigurationError("A pilot gives the spread, not the aim: pass the effect to detect, or n.")
    solved, target = _what_is_missing(effect, n, power, alpha)
    effect, n_exact, reached, alpha = _solve(setting, solved, effect, n, target, alpha)
    n_items = max(1, math.ceil(n_exact / setting.trials_per_item - 1e-9))
    per_condition = n_items * setting.trials_per_item if n is None else n
    total = per_condition * setting.conditions
    if solved == "n":
        # Rounding up to whole items buys a little more than was asked for.
        reached = _power_function(setting)(effect, per_condition, alpha)
        warnings += _exact_test(setting, effect, per_condition)
    if setting.alternative != "two-sided":
        warnings.append(Warn(code="one_sided", severity="info", text="one-sided: an effect the other way goes unseen"))
    return Power(
        estimand=f"{setting.design}: {_UNITS[setting.design]}",
        unit="trial",
        n=total,
        n_units=n_items * (1 if setting.rho is not None else setting.conditions),
        method=by("noncentral t, F and normal laws, scipy.stats"),
        alpha=alpha,
        assumptions=_assumptions(setting),
        warnings=tuple(warnings),
        reasons={} if found is not None else {"dollars": "no pilot was given", "minutes": "no pilot was given"},
        design=setting.design,
        solved_for=solved,
        effect=effect,
        power=reached,
        n_exact=n_exact,
        n_per_condition=per_condition,
        items_per_condition=n_items,
        trials_per_item=setting.trials_per_item,
        conditions=setting.conditions,
        n_total=total,
        icc=setting.icc,
        rho=setting.rho,
        dollars=None if found is None or found.dollars is None else found.dollars * total,
        minutes=None if found is None or found.seconds is None else found.seconds * total / 60 / max(1, concurrency),
    )


_UNITS: dict[str, str] = {
    "means": "difference of means",
    "log_ratio": "ratio of geometric means, as relative change",
    "proportions": "difference of success rates",
    "paired_proportions": "difference of success rates of the same items",
    "groups": "Cohen's f",
}


def _setting(
    design: Design, pilot: Pilot | None, sd: float | None, p: float | None, discordant: float | None, conditions: int,
    icc: float | None, trials_per_item: int | None, rho: float | None, shared_items: bool | None, alternative: str,
) -> _Setting:  # fmt: skip
    """What was passed, else what the pilot shows, else the neutral value."""
    if design not in _UNITS:
        raise ConfigurationError(f"design={design!r}; use one of {', '.join(_UNITS)}.")
    spread = None if pilot is None else pilot.log_sd if design == "log_ratio" else pilot.sd
    share = icc if icc is not None else 0.0 if pilot is None else pilot.log_icc if design == "log_ratio" else pilot.icc
    if design == "log_ratio" and sd is None and spread is None:
        raise NotEnoughData(
            "A relative change needs the standard deviation of the logarithm: pass sd= (about the coefficient of "
            "variation), or a pilot whose values are above 0."
        )
    base = p if p is not None else None if pilot is None else pilot.rate
    if design in ("proportions", "paired_proportions") and base is None:
        raise NotEnoughData(
            "A difference of success rates needs the baseline's rate: pass p= or a pilot with outcomes."
        )
    together = (
        shared_items if shared_items is not None else rho is not None or bool(pilot is not None and pilot.is_paired)
    )
    correlation = rho if rho is not None else 0.0 if pilot is None or pilot.rho is None else pilot.rho
    setting = _Setting(
        design=design,
        sd=float(sd if sd is not None else spread if spread is not None else 1.0),
        p=float(base if base is not None else 0.5),
        discordant=discordant,
        conditions=int(conditions),
        icc=float(share or 0.0),
        trials_per_item=int(trials_per_item or (pilot.trials_per_item if pilot is not None else 1)),
        rho=float(correlation) if together and design in ("means", "log_ratio") else None,
        alternative=alternative,
    )
    _check(setting, together)
    return setting


def _check(s: _Setting, together: bool) -> None:
    if not s.sd > 0:
        raise NotEnoughData(f"A standard deviation of {s.sd:g} leaves nothing to plan for.")
    if not 0 <= s.icc <= 1 or s.trials_per_item < 1 or s.conditions < 2:
        raise ConfigurationError(
            f"icc={s.icc} lies between 0 and 1; trials_per_item={s.trials_per_item} is at least 1, "
            f"conditions={s.conditions} at least 2."
        )
    if s.rho is not None and not -1 <= s.rho < 1:
        raise ConfigurationError(f"rho={s.rho} is a correlation below 1.")
    if together and s.design == "groups":
        raise ConfigurationError('Groups that share items are planned as "means" or "log_ratio", pair by pair.')


def _what_is_missing(
    effect: float | None, n: int | None, power: float | None, alpha: float | None
) -> tuple[Solved, float]:
    missing: list[Solved] = [name for name, value in (("n", n), ("effect", effect), ("alpha", alpha)) if value is None]  # type: ignore[misc]
    if len(missing) > 1:
        raise ConfigurationError(f"{' and '.join(missing)} are both missing; leave out one of n, effect, power, alpha.")
    if not missing:
        if power is not None:
            raise ConfigurationError("n, effect, power and alpha are all given; leave out the one to solve for.")
        return "power", 0.8
    return missing[0], 0.8 if power is None else power


def _solve(
    s: _Setting, solved: Solved, effect: float | None, n: int | None, target: float, alpha: float | None
) -> tuple[float, float, float, float]:
    """Effect, trials per condition, power and alpha, with the missing one found."""
    if effect is not None and effect == 0:
        raise ConfigurationError("effect=0 has no sample size; give the smallest effect that matters.")
    if n is not None and n < 2:
        raise ConfigurationError(f"n={n} trials per condition are too few; at least 2.")
    at = _power_function(s)
    if solved == "n":
        assert effect is not None
        assert alpha is not None
        low = 2.0 * s.trials_per_item
        if at(effect, low, alpha) >= target:
            return effect, low, at(effect, low, alpha), alpha
        found = laws.solve(lambda size: at(effect, size, alpha), target, low, _MOST)
        return effect, found, target, alpha
    assert n is not None
    if solved == "effect":
        assert alpha is not None
        return _detectable(s, at, n, target, alpha), float(n), target, alpha
    assert effect is not None
    if solved == "alpha":
        found = laws.solve(lambda level: at(effect, n, level), target, 1e-12, 1 - 1e-9, "alpha")
        return effect, float(n), target, found
    assert alpha is not None
    return effect, float(n), at(effect, n, alpha), alpha


def _detectable(
    s: _Setting, at: Callable[[float, float, float], float], n: float, target: float, alpha: float
) -> float:
    """The smallest effect found with this power; for rates and ratios towards the better-known side, below."""
    if s.design == "log_ratio":
        return laws.solve(lambda change: at(change, n, alpha), target, -1 + 1e-9, -1e-9, "relative change")
    if s.design in ("proportions", "paired_proportions"):
        room = max(s.p, 1 - s.p)
        if s.design == "paired_proportions" and s.discordant is not None:
            room = min(room, s.discordant)
        sign = -1 if s.p >= 0.5 else 1
        found = laws.solve(lambda d: at(sign * d, n, alpha), target, 1e-9, room - 1e-9, "difference")
        return sign * found
    most = 1e3 * s.sd if s.design == "means" else 1e2
    return laws.solve(lambda size: at(size, n, alpha), target, 1e-12, most, "effect")


def _exact_test(s: _Setting, effect: float, n: int) -> list[Warn]:
    """What the exact tests of `compare` ask for beyond the n of the asymptotic ones that textbooks plan for."""
    name = {"proportions": "Fisher's", "paired_proportions": "McNemar's"}.get(s.design)
    if name is None or s.trials_per_item > 1:
        return []
    more = math.ceil(laws.n_of_exact_test(n, effect) - 1e-9)
    text = f"compare() judges rates by {name} exact test, which is conservative: {more:,} trials per condition give it this power"
    return [Warn(code="exact_test", severity="info", text=text, value=float(more))]


def _power_function(s: _Setting) -> Callable[[float, float, float], float]:
    """Power as a function of effect, trials per condition and alpha."""
    if s.design in ("means", "log_ratio"):
        return lambda effect, n, alpha: _power_of_means(s, effect, n, alpha)
    if s.design == "proportions":
        return lambda effect, n, alpha: laws.power_proportions(
            s.p, _rate(s.p + effect), n / _inflation(s), alpha, _side(s.alternative)
        )
    if s.design == "paired_proportions":
        return lambda effect, n, alpha: laws.power_paired_proportions(*_discordant(s, effect), n / _inflation(s), alpha)
    return lambda effect, n, alpha: laws.power_anova(effect, s.conditions, max(n / _inflation(s), 1.001), alpha)


def _power_of_means(s: _Setting, effect: float, n: float, alpha: float) -> float:
    if s.design == "log_ratio" and effect <= -1:
        raise ConfigurationError(f"A relative change of {effect:g} is impossible; it lies above -1.")
    delta = math.log1p(effect) if s.design == "log_ratio" else effect
    items = n / s.trials_per_item
    between, within = s.icc * (1 - (s.rho or 0.0)), (1 - s.icc) / s.trials_per_item
    se = s.sd * math.sqrt(2 * (between + within) / items)
    df = items - 1 if s.rho is not None else 2 * items - 2
    signed = delta if s.alternative != "two-sided" else abs(delta)
    return laws.power_of_t(signed / se, df, alpha, _side(s.alternative))


def _inflation(s: _Setting) -> float:
    """The design effect of repeated trials (Kish 1965)."""
    return 1 + (s.trials_per_item - 1) * s.icc


def _discordant(s: _Setting, effect: float) -> tuple[float, float]:
    """Shares of items that only one arm solves; without a given share, as if the arms were independent."""
    q = _rate(s.p + effect)
    total = s.p * (1 - q) + q * (1 - s.p) if s.discordant is None else s.discordant
    if total < abs(effect):
        raise ConfigurationError(f"discordant={total:g} cannot be below the difference of the rates, {abs(effect):g}.")
    return (total + effect) / 2, (total - effect) / 2


def _rate(p: float) -> float:
    if not 0 <= p <= 1:
        raise ConfigurationError(f"The effect would make a success rate of {p:g}; rates lie between 0 and 1.")
    return p


def _side(alternative: str) -> str:
    return {"greater": "larger", "less": "smaller"}.get(alternative, alternative)


def _default_design(outcome: str, shared_items: bool | None) -> Design:
    if outcome == "success_rate":
        return "paired_proportions" if shared_items else "proportions"
    return "log_ratio" if outcome in ("latency", "ttft", "cost", "tokens") else "means"


def _assumptions(s: _Setting) -> tuple[str, ...]:
    said = ["conditions of equal size", "trials of different items are independent"]
    if s.rho is not None:
        said.append("every item runs in every condition; analysed as pairs of item means")
    if s.design == "log_ratio":
        said.append("the same spread of logarithms in every condition")
    return tuple(said)


__all__ = ["Power", "power"]
