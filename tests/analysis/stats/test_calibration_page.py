"""The calibration page is the suite's, whole, and every judged row holds."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def suite() -> Iterator[ModuleType]:
    """The benchmark as a module."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("calibration.run")
    sys.path.pop(0)


def test_page_has_every_cell(suite: ModuleType):
    """docs/calibration.md has one row per cell, by section, and no band is missed."""
    rows = [line for line in (ROOT / "docs" / "calibration.md").read_text().splitlines() if " ± " in line]
    sections = dict.fromkeys(cell.section for cell in suite.CELLS)
    cells = [(cell.situation, cell.method) for name in sections for cell in suite.CELLS if cell.section == name]
    assert [tuple(row.strip("| ").split(" | ")[:2]) for row in rows] == cells
    assert not [row for row in rows if "**no**" in row]


def test_every_cell_draws(suite: ModuleType):
    """Each simulation runs, and answers yes, no or refused."""
    rng = np.random.default_rng(1)
    assert {cell.hit(rng) for cell in suite.CELLS} <= {True, False, None}


@pytest.mark.parametrize(("share", "holds"), [(0.05, True), (0.075, True), (0.1, False), (0.01, False)])
def test_a_band_is_judged_within_monte_carlo_error(suite: ModuleType, share: float, holds: bool):
    """A share misses its band only by more than twice its simulation error."""
    assert suite.Outcome("", "", "", "", 2000, share, 0.0097, (0.03, 0.07)).holds == holds


def test_a_cell_is_seeded(suite: ModuleType):
    """The same cell gives the same share whatever else runs."""
    assert suite.run((0, 50)) == suite.run((0, 50))
