"""Are the p-values, intervals and sample sizes what they say? Simulated, seeded, judged within Monte Carlo error.

    python benchmarks/calibration              all cells, about 20 minutes on 2 idle cores; writes docs/calibration.md
    python benchmarks/calibration --quick      a tenth of the simulations, nothing written

A cell simulates data whose truth is known, runs `compare` or the statistical function behind a result, and counts.
It is judged where a default depends on it: size at most 7 %, coverage at least 93 %, power 78 to 82 %; two-sided
(3 to 7 %, 93 to 97 %) for the continuous tests that drive a verdict; a check of a clean design speaks up in at most
2 % of experiments. Exit code 1 if a judged cell misses its band.
"""

from __future__ import annotations

from calibration import clean, coverage, design, found, many, size, wrong
from calibration.judged import Cell, Family

CELLS: tuple[Cell | Family, ...] = (
    *size.CELLS, *design.CELLS, *many.CELLS, *coverage.CELLS, *found.CELLS, *clean.CELLS, *wrong.CELLS
)  # fmt: skip
