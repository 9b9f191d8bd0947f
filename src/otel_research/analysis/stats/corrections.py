"""Many p-values at once: familywise error (Holm, Bonferroni) and false discovery rate (BH, BY)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otel_research.analysis.stats.sample import Floats, sample
from otel_research.errors import ConfigurationError


def adjust(p_values: Sequence[float], method: str = "holm") -> list[float]:
    """Adjusted p-values in the order given; `method` is one of `METHODS`."""
    chosen = METHODS.get(method)
    if chosen is None:
        raise ConfigurationError(f"There is no correction {method!r}; use one of {', '.join(METHODS)}.")
    return chosen(p_values)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm (1979): step-down Bonferroni; strong control of the familywise error under any dependence."""
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return list(map(float, adjusted))


def bonferroni(p_values: Sequence[float]) -> list[float]:
    """Bonferroni: every p-value times their number."""
    p = _checked(p_values)
    return list(map(float, np.minimum(p * p.size, 1.0)))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini & Hochberg (1995): false discovery rate under independence or positive dependence."""
    return _false_discovery(p_values, "bh")


def benjamini_yekutieli(p_values: Sequence[float]) -> list[float]:
    """Benjamini & Yekutieli (2001): false discovery rate under any dependence."""
    return _false_discovery(p_values, "by")


def none(p_values: Sequence[float]) -> list[float]:
    """No correction: the p-values as they are."""
    return list(map(float, _checked(p_values)))


METHODS = {
    "holm": holm,
    "bonferroni": bonferroni,
    "bh": benjamini_hochberg,
    "by": benjamini_yekutieli,
    "none": none,
}


def _false_discovery(p_values: Sequence[float], method: str) -> list[float]:
    from scipy.stats import false_discovery_control

    p = _checked(p_values)
    return [float(q) for q in false_discovery_control(p, method=method)]


def _checked(p_values: Sequence[float]) -> Floats:
    p = sample(p_values, what="the p-values")
    if bool(((p < 0) | (p > 1)).any()):
        raise ConfigurationError("A p-value lies between 0 and 1.")
    return p
