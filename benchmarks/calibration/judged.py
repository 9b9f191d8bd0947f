"""One simulated cell, what came of it, and the band it is judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05
SIZE, CONSERVATIVE, COVERAGE, COVERAGE_LOW = (0.03, 0.07), (0.0, 0.07), (0.93, 0.97), (0.93, 1.0)
POWER, REPORTED = (0.78, 0.82), None
CAUGHT, SILENT = (0.95, 1.0), (0.0, 0.02)
Band = tuple[float, float] | None
Rng = np.random.Generator


@dataclass(frozen=True)
class Cell:
    """One simulation: `hit` draws data once and says whether the event (rejection, coverage) happened.

    None: an interval was refused; it counts neither way.
    """

    section: str
    situation: str
    method: str
    hit: Callable[[Rng], bool | None]
    band: Band
    n: int = 2000


@dataclass(frozen=True)
class Outcome:
    """A cell's share of hits, and whether its band holds within Monte Carlo error."""

    cell: str
    section: str
    situation: str
    method: str
    n: int
    share: float
    error: float
    band: Band

    @property
    def holds(self) -> bool:
        """Inside the band, give or take two standard errors of the simulation."""
        return self.band is None or self.band[0] - self.error <= self.share <= self.band[1] + self.error
