"""The gate every number passes on its way in and on its way out.

Degenerate input is refused here, once, with a reason; so is a result that is not finite.
The functions behind it can then assume clean float64 arrays, and no warning of numpy or
scipy reaches a user.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otel_research.errors import ConfigurationError, MissingExtra, NotEnoughData

Floats: TypeAlias = NDArray[np.float64]


LARGEST = 1e60
"""Its fourth power still fits a double, with room for sums."""


def sample(values: ArrayLike, *, at_least: int = 1, what: str = "the sample") -> Floats:
    """`values` as a one-dimensional float64 array of at least so many finite numbers."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"{what} is not a sequence of numbers: {exc}. Pass numbers only.") from exc
    if array.ndim != 1:
        raise ConfigurationError(f"{what} has {array.ndim} dimensions; pass a flat sequence of numbers.")
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise NotEnoughData(
            f"{bad} of {array.size} values in {what} are missing, NaN or infinite. Drop them first, and say so."
        )
    if array.size and float(np.abs(array).max()) > LARGEST:
        raise ConfigurationError(f"{what} holds values beyond {LARGEST:g}, whose powers overflow. Use a larger unit.")
    if array.size < at_least:
        raise NotEnoughData(f"{what} has {array.size} values; at least {at_least} are needed.")
    return array


def pairs(a: ArrayLike, b: ArrayLike, *, at_least: int = 2) -> tuple[Floats, Floats]:
    """Two samples of equal length whose rows belong together."""
    first, second = sample(a, at_least=at_least, what="sample a"), sample(b, at_least=at_least, what="sample b")
    if first.size != second.size:
        raise ConfigurationError(
            f"Paired samples differ in length: {first.size} and {second.size}. Pair them by item first."
        )
    return first, second


def groups(samples: Sequence[ArrayLike], *, at_least: int = 1, fewest: int = 2) -> list[Floats]:
    """Several samples, each of at least so many values."""
    if len(samples) < fewest:
        raise NotEnoughData(f"{len(samples)} groups were given; at least {fewest} are needed.")
    return [sample(each, at_least=at_least, what=f"group {i + 1}") for i, each in enumerate(samples)]


def positive(values: Floats, what: str) -> Floats:
    """The same values, refused unless all are above 0 (a logarithm comes next)."""
    low = int((values <= 0).sum())
    if low:
        raise NotEnoughData(f"{low} of {values.size} values in {what} are not above 0, so they have no logarithm.")
    return values


def is_constant(values: Floats) -> bool:
    """Are all values the same number?"""
    return bool(np.ptp(values) == 0)


def varied(*samples: Floats) -> None:
    """Refuse samples that are all constant: nothing can be said about their spread."""
    if all(is_constant(each) for each in samples):
        raise NotEnoughData("All values within each sample are the same, so there is no variation to judge by.")


def codes(labels: ArrayLike, size: int, what: str = "cluster") -> tuple[NDArray[np.intp], int]:
    """Labels of any kind as 0-based codes, and how many different ones there are."""
    array = np.asarray(labels)
    if array.shape != (size,):
        raise ConfigurationError(f"{what} has shape {array.shape}; one label per value ({size}) is needed.")
    unique, inverse = np.unique(array, return_inverse=True)
    return inverse.reshape(-1), int(unique.size)


def finite(value: float, what: str) -> float:
    """`value` as a plain float; refused when it is NaN or infinite."""
    number = float(value)
    if not math.isfinite(number):
        raise NotEnoughData(f"{what} cannot be computed from these data (the formula gives {number}).")
    return number


def confidence_level(confidence: float) -> float:
    """The level, checked: 0.95, not 95."""
    if not 0 < confidence < 1:
        raise ConfigurationError(f"confidence={confidence} is not between 0 and 1. Use 0.95 for 95 %.")
    return float(confidence)


def counts(**given: float) -> None:
    """Refuse counts that are negative or fractional."""
    for name, value in given.items():
        if value < 0 or value != int(value):
            raise ConfigurationError(f"{name}={value} is not a count.")


@contextmanager
def quiet() -> Iterator[None]:
    """Run a library call without its warnings: what it could not compute is checked afterwards."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def need_statsmodels() -> None:
    """Raise `MissingExtra` unless statsmodels can be imported."""
    try:
        import statsmodels  # noqa: F401
    except ImportError as exc:
        raise MissingExtra("statsmodels", "stats") from exc
