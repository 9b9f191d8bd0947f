"""Equivalence: is the change inside the margin that was declared or asked for?"""

from __future__ import annotations

import math

from otel_research.analysis.arms import Sample
from otel_research.analysis.comparison import Test
from otel_research.analysis.plan import Plan
from otel_research.analysis.stats.equivalence import tost_of
from otel_research.analysis.stats.outcome import Outcome
from otel_research.errors import ConfigurationError, NotEnoughData


def margin(plan: Plan, a: Sample) -> float:
    """The margin in the outcome's own unit; text such as "5%" is of the baseline's mean."""
    if isinstance(plan.margin, str):
        if a.mean() <= 0:
            raise NotEnoughData(
                f"the margin {plan.margin!r} of {plan.outcome} is a share of a baseline of {a.mean():.4g}, which is not above 0. "
                "Give it in the outcome's own unit."
            )
        return _share(plan.margin) * a.mean()
    assert plan.margin is not None
    return float(plan.margin)


def equivalence(plan: Plan, a: Sample, raw: Outcome | None, logs: Outcome | None) -> Test | None:
    """Two one-sided tests: on the ratio for a margin in percent, on the difference for one in the own unit."""
    if plan.margin is None:
        return None
    if isinstance(plan.margin, str) and plan.estimand == "geomean":
        share = _share(plan.margin)
        outcome, low, high = logs, math.log1p(-share), math.log1p(share)
    else:
        outcome, high = raw, margin(plan, a)
        low = -high
    if outcome is None or not outcome.se:
        raise NotEnoughData("the difference has no standard error, so equivalence cannot be tested")
    if plan.tuning is not None:
        raise NotEnoughData("withheld until the declared n is reached")
    both = tost_of(outcome, low, high, plan.alpha)
    return Test(
        name="two one-sided tests",
        method=both.method,
        p_value=both.p_value,
        p_adjusted=both.p_value,
        significant=both.p_value < plan.alpha,
    )


def _share(text: str) -> float:
    try:
        share = float(text.strip().removesuffix("%")) / 100
    except ValueError as exc:
        raise ConfigurationError(f'the margin {text!r} is neither a number nor a percentage such as "5%".') from exc
    if not 0 < share < 1:
        raise ConfigurationError(f"the margin {text!r} has to lie between 0 and 100 %.")
    return share
