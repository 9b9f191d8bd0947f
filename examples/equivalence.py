"""Is the cheaper model just as fast? "No significant difference" does not say so; a test of equivalence does.

How many trials it takes is planned from a pilot, the margin is declared before the data, and the
verdict is one of better, equivalent, worse, inconclusive.
"""

from __future__ import annotations

import random

import otel_research as otr

MARGIN = "10%"
model = random.Random(8)


def latencies(n: int, median_ms: float) -> list[float]:
    """What n requests took, in milliseconds."""
    return [median_ms * model.lognormvariate(0, 0.25) for _ in range(n)]


# 1. The mistake: 12 trials differ by nothing significant. They would also miss a difference that matters.
few = otr.compare(latencies(12, 500), latencies(12, 505), equivalence=MARGIN)
effect = few.effect("latency")
print(f"12 trials: p = {effect.test.p_value:.2f}, interval {effect.improvement_ci}: {few.verdict}")
assert few.verdict == "inconclusive"

# 2. The plan: how many would show a difference as large as the margin, with power 0.9?
plan = otr.power(0.10, sd=0.25, power=0.9)
print(f"planned: {plan.n} per condition")

# 3. The run. Equivalent means that the 90 % interval lies within the margin: two one-sided tests, each at 5 %.
enough = otr.compare(latencies(2 * plan.n, 500), latencies(2 * plan.n, 502), equivalence=MARGIN)
print(enough.summary())
print(enough.methods)
assert enough.verdict == "equivalent"

# 4. A real difference is not hidden by a margin: beyond it, worse is worse.
worse = otr.compare(latencies(2 * plan.n, 500), latencies(2 * plan.n, 650), equivalence=MARGIN)
print(f"30 % slower: {worse.verdict}")
assert worse.verdict == "worse"
