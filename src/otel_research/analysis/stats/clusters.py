"""Standard errors where values come in clusters (trials of an item), and variance reduction by a covariate.

The sandwich of Liang & Zeger (1986) with the small-sample factors CR1 (Stata's, statsmodels'
`cov_type="cluster"`) and CR2 (Bell & McCaffrey 2002). It is written here because `compare` runs on the core
install; `tests/analysis/stats` holds it to statsmodels and to R's sandwich.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otel_research.analysis.stats.describe import mean, moments, standard_error
from otel_research.analysis.stats.outcome import Alternative, Outcome, own
from otel_research.analysis.stats.sample import Floats, codes, is_constant, pairs, sample, varied
from otel_research.analysis.stats.two_samples import t_outcome
from otel_research.errors import ConfigurationError, NotEnoughData


@dataclass(frozen=True, slots=True)
class ClusteredMean:
    """A mean with its naive and cluster-robust standard errors; CR2 with `df_cr2` is the one to quote."""

    mean: float
    n: int
    n_clusters: int
    se_naive: float
    se_cr0: float
    se_cr1: float
    se_cr2: float
    df_cr2: float


@dataclass(frozen=True, slots=True)
class Regression:
    """Least squares: one entry per column of the design, the intercept first."""

    coefficients: tuple[float, ...]
    se_naive: tuple[float, ...]
    se_cluster: tuple[float, ...]
    n: int
    n_clusters: int
    method: str


@dataclass(frozen=True, slots=True)
class Cuped:
    """A mean before and after adjusting for a covariate measured on the same units."""

    theta: float
    mean: float
    se_raw: float
    se_adjusted: float
    variance_reduction: float


def clustered_mean(values: ArrayLike, cluster: ArrayLike) -> ClusteredMean:
    """The mean of clustered values.

    For an intercept alone CR2 divides each cluster's squared residual sum by 1 - n_g/n, and Satterthwaite's
    degrees of freedom have a closed form (Pustejovsky & Tipton 2018, eq. 11, with X = 1).
    """
    array = sample(values, at_least=2)
    code, size = codes(cluster, array.size)
    own_mean = mean(array)
    sums = np.bincount(code, array - own_mean, size)
    return _clustered(own_mean, np.bincount(code, minlength=size), sums, lambda: standard_error(array))


def mean_of_sums(count: NDArray[np.intp], total: Floats, stdev: float) -> ClusteredMean:
    """The same from each cluster's number of values and their sum, and the standard deviation (n-1) of all values."""
    has_some = count > 0
    sizes, sums = count[has_some], total[has_some]
    n = int(sizes.sum())
    own_mean = math.fsum(sums) / n
    return _clustered(own_mean, sizes, sums - sizes * own_mean, lambda: stdev / math.sqrt(n))


def _clustered(
    own_mean: float, sizes: NDArray[np.intp], sums: NDArray[Any], naive: Callable[[], float]
) -> ClusteredMean:
    """`sums` are each cluster's sum of deviations from the mean."""
    n, size = int(sizes.sum()), sizes.size
    if size < 2:
        raise NotEnoughData("All values belong to one cluster; a clustered standard error needs at least 2.")
    share = sizes / n
    cr0 = float((sums**2).sum()) / n**2
    weight = 1 / (1 - share)
    cr2 = float((sums**2 * weight).sum()) / n**2
    return ClusteredMean(
        mean=own_mean,
        n=n,
        n_clusters=int(size),
        se_naive=naive(),
        se_cr0=math.sqrt(cr0),
        se_cr1=math.sqrt(cr0 * size / (size - 1)),
        se_cr2=math.sqrt(cr2),
        df_cr2=_satterthwaite(share, weight),
    )


def clustered_test(
    values: ArrayLike, cluster: ArrayLike, *, confidence: float = 0.95, alternative: Alternative = "two-sided"
) -> Outcome:
    """The t test that the mean of clustered values is 0, with CR2 and Satterthwaite's degrees of freedom."""
    found = clustered_mean(values, cluster)
    if found.se_cr2 == 0:
        raise NotEnoughData("The clusters do not differ, so there is no variation to judge by.")
    return t_outcome(found.mean, found.se_cr2, found.df_cr2, confidence, alternative, own("CR2, Satterthwaite"))


def clustered_welch(
    a: ArrayLike,
    cluster_a: ArrayLike,
    b: ArrayLike,
    cluster_b: ArrayLike,
    *,
    confidence: float = 0.95,
    alternative: Alternative = "two-sided",
) -> Outcome:
    """Welch's test of two independent arms of clustered values: CR2 per arm, Welch's degrees of freedom."""
    x, y = clustered_mean(a, cluster_a), clustered_mean(b, cluster_b)
    return welch_of_means(x, y, confidence=confidence, alternative=alternative)


def welch_of_means(
    x: ClusteredMean, y: ClusteredMean, *, confidence: float = 0.95, alternative: Alternative = "two-sided"
) -> Outcome:
    """The same from both arms' means: `x` minus `y`."""
    part_a, part_b = x.se_cr2**2, y.se_cr2**2
    if part_a + part_b == 0:
        raise NotEnoughData("The clusters do not differ, so there is no variation to judge by.")
    df = (part_a + part_b) ** 2 / (part_a**2 / x.df_cr2 + part_b**2 / y.df_cr2)
    method = own("Welch's t test on clusters, CR2")
    return t_outcome(x.mean - y.mean, math.sqrt(part_a + part_b), df, confidence, alternative, method)


def regression(y: ArrayLike, x: Sequence[ArrayLike], cluster: Sequence[ArrayLike]) -> Regression:
    """Least squares of y on columns x (an intercept is added) with CR1 standard errors.

    Two cluster variables are combined as Cameron, Gelbach & Miller (2011) do: first + second - both.
    """
    response = sample(y, at_least=3, what="y")
    columns = [sample(each, what="x") for each in x]
    design = np.column_stack([np.ones(response.size), *columns])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise NotEnoughData("A column of x is constant or a combination of the others.")
    beta, *_ = np.linalg.lstsq(design, response, rcond=None)
    residual = response - design @ beta
    bread = np.linalg.inv(design.T @ design)
    n, k = design.shape
    labels = [codes(each, response.size) for each in cluster]
    if not 1 <= len(labels) <= 2:
        raise ConfigurationError(f"{len(labels)} cluster variables were given; one or two are supported.")
    covariance = sum(_cr1(design, residual, bread, code, size) for code, size in labels)
    if len(labels) == 2:
        both = codes(labels[0][0] * labels[1][1] + labels[1][0], response.size)
        covariance = covariance - _cr1(design, residual, bread, *both)
    naive = np.diag(bread) * float(residual @ residual) / (n - k)
    return Regression(
        coefficients=tuple(beta.tolist()),
        se_naive=tuple(np.sqrt(naive).tolist()),
        se_cluster=tuple(np.sqrt(np.maximum(np.diag(covariance), 0)).tolist()),
        n=n,
        n_clusters=min(size for _, size in labels),
        method=own("least squares, cluster-robust CR1"),
    )


def clustered_difference(a: ArrayLike, cluster_a: ArrayLike, b: ArrayLike, cluster_b: ArrayLike) -> Regression:
    """The difference of means `a` minus `b` as the second coefficient; items in both arms are one cluster."""
    first, second = sample(a, what="sample a"), sample(b, what="sample b")
    arm = np.concatenate([np.ones(first.size), np.zeros(second.size)])
    labels = np.concatenate([np.asarray(cluster_a), np.asarray(cluster_b)])
    return regression(np.concatenate([first, second]), [arm], [labels])


def cuped(values: ArrayLike, covariate: ArrayLike) -> Cuped:
    """CUPED (Deng et al. 2013): values minus theta times the centred covariate, theta by least squares."""
    y, x = pairs(values, covariate, at_least=3)
    varied(y)
    if is_constant(x):
        raise NotEnoughData("The covariate is constant, so it explains nothing.")
    x_mean, y_mean = mean(x), mean(y)
    theta = float((x - x_mean) @ (y - y_mean)) / float((x - x_mean) @ (x - x_mean))
    adjusted = y - theta * (x - x_mean)
    raw, after = moments(y).variance or 0.0, moments(adjusted).variance or 0.0
    n = y.size
    return Cuped(theta, y_mean, math.sqrt(raw / n), math.sqrt(after / n), 1 - after / raw)


def item_means(values: ArrayLike, item: ArrayLike) -> dict[object, float]:
    """The mean of each item, by its label."""
    array = sample(values)
    labels, code = np.unique(np.asarray(item), return_inverse=True)
    sums, sizes = np.bincount(code, array), np.bincount(code)
    return dict(zip(labels.tolist(), (sums / sizes).tolist(), strict=True))


def _cr1(design: Floats, residual: Floats, bread: Floats, code: NDArray[np.intp], size: int) -> Floats:
    n, k = design.shape
    if size < 2:
        raise NotEnoughData("All values belong to one cluster; a clustered standard error needs at least 2.")
    scores = np.column_stack([np.bincount(code, column * residual, size) for column in design.T])
    factor = size / (size - 1) * (n - 1) / (n - k)
    return np.asarray(factor * bread @ (scores.T @ scores) @ bread, dtype=np.float64)


def _satterthwaite(share: Floats, weight: Floats) -> float:
    """(sum of p_g'p_g)^2 / sum over g, h of (p_g'p_h)^2, with p_g'p_h = c_g c_h (share_g [g = h] - share_g share_h)."""
    own_terms = weight * share * (1 - share)
    cross = weight * share**2
    # sum over all pairs of c_g^2 c_h^2 share_g^2 share_h^2, with the diagonal replaced by its own value.
    everything = float(cross.sum() ** 2 - (cross**2).sum() + (own_terms**2).sum())
    return float(own_terms.sum() ** 2) / everything
