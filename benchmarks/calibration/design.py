"""Whether the checks of a design speak up where they should, and only there."""

from __future__ import annotations

import numpy as np

from calibration.data import autoregressive, spans
from calibration.judged import Cell, Rng
from otel_research.analysis.compare import compare


def compare_blocked(rng: Rng) -> bool:
    """One arm after the other under AR(1): does a check say so?"""
    found = compare(*spans(rng, autoregressive(rng, 240, 0.5), np.arange(240) < 120, None))
    return any(check.name == "interleaved" and not check.passed for check in found.checks)


CELLS: tuple[Cell, ...] = (
    Cell("checks", "spans: AR(1) rho .5, one arm after the other", "compare() says so", compare_blocked, (0.95, 1.0),
         150),
)  # fmt: skip
