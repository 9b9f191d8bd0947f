"""Looking more than once: group-sequential boundaries, alpha spending, and intervals that hold at every look.

Boundaries are found by the recursive integration of Armitage, McPherson & Rowe (1969); see Jennison &
Turnbull (2000), chapter 19.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from otel_research.analysis.stats.outcome import Estimate, between, own
from otel_research.analysis.stats.sample import Floats, finite
from otel_research.errors import ConfigurationError, NotEnoughData

_FAR = 8.5
"""Standard deviations beyond which the density is 0 to double precision."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """Per look: the critical |z|, the nominal two-sided (or one-sided) level, and the alpha spent so far."""

    fractions: tuple[float, ...]
    z: tuple[float, ...]
    nominal: tuple[float, ...]
    spent: tuple[float, ...]
    method: str


def spending(fraction: float, alpha: float = 0.05, kind: str = "obrien-fleming", sided: int = 2) -> float:
    """Alpha spent by the time `fraction` of the declared n has been seen (Lan & DeMets 1983).

    "obrien-fleming" spends almost nothing early, "pocock" evenly, "power:RHO" alpha * t^RHO (Kim & DeMets 1987).
    """
    t = min(max(fraction, 0.0), 1.0)
    if t == 0:
        return 0.0
    if kind == "obrien-fleming":
        from scipy.special import ndtr, ndtri

        # Each side of a two-sided test spends half of alpha by Lan & DeMets's one-sided function.
        side = alpha / sided
        return sided * 2 * float(ndtr(ndtri(side / 2) / math.sqrt(t)))
    if kind == "pocock":
        return alpha * math.log(1 + (math.e - 1) * t)
    if kind.startswith("power:"):
        return float(alpha * t ** float(kind.removeprefix("power:")))
    raise ConfigurationError(f'There is no spending function {kind!r}; use "obrien-fleming", "pocock" or "power:RHO".')


def spending_boundary(
    fractions: Sequence[float], alpha: float = 0.05, kind: str = "obrien-fleming", sided: int = 2
) -> Boundary:
    """Lan-DeMets boundary at any looks, planned or not: `fractions` of the declared n, increasing, at most 1."""
    looks = _checked(fractions, alpha, sided)
    plan = [spending(t, alpha, kind, sided) for t in looks]
    walk = _Walk(sided)
    z = [walk.step(t, spend=target - walk.crossed) for t, target in zip(looks, plan, strict=True)]
    return _boundary(looks, z, plan, sided, own(f"Lan & DeMets 1983, {kind}"))


def constant_boundary(
    looks: int | Sequence[float], alpha: float = 0.05, delta: float = 0.5, sided: int = 2
) -> Boundary:
    """Wang & Tsiatis's (1987) family c * t^(delta - 1/2): delta 0.5 is Pocock (1977), 0 is O'Brien & Fleming (1979)."""
    from scipy.optimize import brentq

    given = [(i + 1) / looks for i in range(looks)] if isinstance(looks, int) else looks
    fractions = _checked(given, alpha, sided)

    def shape(constant: float) -> list[float]:
        return [constant * (t / fractions[-1]) ** (delta - 0.5) for t in fractions]

    def crossing(constant: float) -> list[float]:
        walk = _Walk(sided)
        spent = []
        for t, z in zip(fractions, shape(constant), strict=True):
            walk.step(t, z=z)
            spent.append(walk.crossed)
        return spent

    constant = float(brentq(lambda c: crossing(c)[-1] - alpha, 1.0, 6.0, xtol=1e-9))
    name = {0.5: "Pocock 1977", 0.0: "O'Brien & Fleming 1979"}.get(delta, f"Wang & Tsiatis 1987, delta {delta:g}")
    return _boundary(fractions, shape(constant), crossing(constant), sided, own(name))


def crossing_probability(fractions: Sequence[float], z: Sequence[float], sided: int = 2) -> float:
    """The chance under the null of crossing any of the boundaries z: the true alpha of a peeking plan."""
    walk = _Walk(sided)
    for t, bound in zip(_checked(fractions, 0.5, sided), z, strict=True):
        walk.step(t, z=bound)
    return walk.crossed


def confidence_sequence(
    estimate: float, se: float, n: int, *, tuning: float, alpha: float = 0.05, method: str = ""
) -> Estimate:
    """An interval that holds at every look at once (asymptotic confidence sequence, Waudby-Smith et al. 2023).

    Tightest when n is about `tuning`; `se` is the usual standard error of the estimate at n values in all.
    """
    if n < 2 or not se > 0:
        raise NotEnoughData("A confidence sequence needs at least 2 values and some variation.")
    rho = sequence_rho(tuning, alpha)
    scale = n * rho**2 + 1
    half = se * math.sqrt(n) * math.sqrt(2 * scale * math.log(math.sqrt(scale) / alpha)) / (n * rho)
    name = method or own("asymptotic confidence sequence, Waudby-Smith et al. 2023")
    interval = between(estimate - half, estimate + half, 1 - alpha, name)
    return Estimate(finite(estimate, "the estimate"), se, interval, n, name)


def sequence_rho(tuning: float, alpha: float = 0.05) -> float:
    """The mixture parameter that makes the sequence tightest at n = `tuning` (Waudby-Smith et al. 2023, eq. 24)."""
    if not tuning > 0 or not 0 < alpha < 1:
        raise ConfigurationError(f"tuning={tuning} has to be above 0 and alpha={alpha} between 0 and 1.")
    return math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuning)


def sequence_p_value(estimate: float, se: float, n: int, *, tuning: float, alpha: float = 0.05) -> float:
    """The anytime-valid p-value: the smallest level whose sequence excludes 0, with rho fixed by `alpha`."""
    if n < 2 or not se > 0:
        raise NotEnoughData("A confidence sequence needs at least 2 values and some variation.")
    scale = n * sequence_rho(tuning, alpha) ** 2 + 1
    z2 = (estimate / se) ** 2
    log_p = 0.5 * math.log(scale) - z2 * (scale - 1) / (2 * scale)
    return min(1.0, math.exp(log_p))


class _Walk:
    """The score process under the null, stopped at the boundary: its density on a grid, look by look."""

    def __init__(self, sided: int) -> None:
        self.sided = sided
        self.crossed = 0.0
        self._time = 0.0
        self._points: Floats = np.zeros(1)
        self._mass: Floats = np.ones(1)

    def step(self, time: float, z: float | None = None, spend: float | None = None) -> float:
        """Move on to `time`; the bound is `z`, or the one that spends `spend`. Returns the bound."""
        spread = math.sqrt(time - self._time)
        if z is None:
            z = self._bound(math.sqrt(time), spread, max(spend or 0.0, 0.0))
        edge = z * math.sqrt(time)
        self.crossed += self._exit(edge, spread)
        self._continue(edge, time, spread)
        return z

    def _exit(self, edge: float, spread: float) -> float:
        from scipy.special import ndtr

        out = ndtr((self._points - edge) / spread)
        if self.sided == 2:
            out = out + ndtr((-edge - self._points) / spread)
        return float(out @ self._mass)

    def _bound(self, root: float, spread: float, spend: float) -> float:
        from scipy.optimize import brentq

        if spend <= self._exit(_FAR * root, spread):
            return _FAR
        return float(brentq(lambda z: self._exit(z * root, spread) - spend, 0.0, _FAR, xtol=1e-12))

    def _continue(self, edge: float, time: float, spread: float) -> None:
        high = min(edge, _FAR * math.sqrt(time))
        low = -high if self.sided == 2 else -_FAR * math.sqrt(time)
        # Enough nodes that the kernel, `spread` wide, is smooth between them.
        nodes, weights = _nodes(min(2000, max(120, int(7 * (high - low) / spread) // 40 * 40 + 40)))
        points = (high - low) / 2 * nodes + (high + low) / 2
        kernel = np.exp(-0.5 * ((points[:, None] - self._points) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
        self._mass = (kernel @ self._mass) * weights * (high - low) / 2
        self._points, self._time = points, time


@cache
def _nodes(n: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on [-1, 1]; costly to find, and asked for again and again."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return nodes, weights


def _boundary(fractions: list[float], z: Sequence[float], spent: Sequence[float], sided: int, method: str) -> Boundary:
    from scipy.special import ndtr

    nominal = tuple(float(sided * ndtr(-bound)) for bound in z)
    return Boundary(tuple(fractions), tuple(z), nominal, tuple(spent), method)


def _checked(fractions: Sequence[float], alpha: float, sided: int) -> list[float]:
    looks = [float(t) for t in fractions]
    rising: Callable[[float, float], bool] = lambda a, b: a < b  # noqa: E731
    if not looks or looks[0] <= 0 or looks[-1] > 1 or not all(map(rising, looks, looks[1:])):
        raise ConfigurationError(f"Looks at {looks} are not increasing fractions of the declared n, above 0 up to 1.")
    if not 0 < alpha < 1 or sided not in (1, 2):
        raise ConfigurationError(f"alpha={alpha} has to be between 0 and 1, and sided={sided} 1 or 2.")
    return looks
