"""The calibration page is the suite's, whole, and every judged row holds."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
FINDERS = ("analysis/faults.py", "semconv/findings.py")


@pytest.fixture(scope="module")
def suite() -> Iterator[ModuleType]:
    """The benchmark as a module."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("calibration.run")
    sys.path.pop(0)


def test_page_has_every_cell(suite: ModuleType):
    """docs/calibration.md has one row per cell, by section, and no band is missed."""
    lines = [line for line in (ROOT / "docs" / "calibration.md").read_text().splitlines() if " ± " in line]
    sections = dict.fromkeys(cell.section for cell in suite.CELLS)
    expected = [row for name in sections for cell in suite.CELLS if cell.section == name for row in cell.rows]
    rows = [tuple(line.strip("| ").split(" | ")[:2]) for line in lines]
    assert [method for _, method in rows] == [method for _, method in expected]
    assert not [row for row, (situations, _) in zip(rows, expected, strict=True) if row[0] not in situations]
    assert not [line for line in lines if "**no**" in line]


def test_every_default_names_rows_that_are_there(suite: ModuleType):
    """The table of defaults in docs/statistics.md refers to methods of the calibration."""
    text = (ROOT / "docs" / "statistics.md").read_text()
    table = text[text.index("| default | measured | rows |") :].split("\n\n")[0].splitlines()[2:]
    named = {name for line in table for name in re.findall(r"`([^`]+)`", line.strip("| ").split(" | ")[-1])}
    known = {method for cell in suite.CELLS for _, method in cell.rows}
    assert len(table) > 15
    assert named <= known


SECTIONS = ("size", "coverage", "many conditions", "peeking", "power", "false alarms of validate()",
            "false alarms of compare()'s checks", "wrong designs")  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS)
def test_every_cell_draws(suite: ModuleType, section: str):
    """Each simulation runs, and answers yes, no or refused; each event of a family has a band."""
    rng = np.random.default_rng(1)
    cells = [cell for cell in suite.CELLS if cell.section == section]
    assert cells
    for cell in cells:
        hits = (
            [cell.hit(rng)] if hasattr(cell, "hit") else [one.share in (0, 1) for one in cell.outcomes(suite.seeded, 1)]
        )
        assert set(hits) <= {True, False, None}
        assert hasattr(cell, "hit") or all(hits)


def test_no_section_is_left_out(suite: ModuleType):
    """The sections that are drawn above are all there are."""
    assert {cell.section for cell in suite.CELLS} == set(SECTIONS)


def test_every_finding_and_check_has_both_rates(suite: ModuleType):
    """Each code of `validate` and each check of `compare` has a false-alarm row and a wrong design that raises it."""
    from calibration import clean, wrong

    source = "".join((ROOT / "src/otel_research" / name).read_text() for name in FINDERS)
    codes = set(re.findall(r"(?:Fault|Finding)\(\s*\"(\w+)\"", source)) | set(
        re.findall(r"\"(\w+)\": \(\(?pl[.]col", source)
    )
    told = {code for code in codes if code not in ("repeated_calls", "evaluation_calls")}
    assert len(told) > 30
    assert told <= set(clean.CODES)
    assert set(clean.CODES) == {code for _, code, _ in wrong.FAULTS} | {"lost"}
    spoilt = {cell.method.removeprefix("compare(): ") for cell in wrong.CELLS if cell.method.startswith("compare(): ")}
    assert set(clean.CHECKS) == spoilt


@pytest.mark.parametrize(("share", "holds"), [(0.05, True), (0.075, True), (0.1, False), (0.01, False)])
def test_a_band_is_judged_within_monte_carlo_error(suite: ModuleType, share: float, holds: bool):
    """A share misses its band only by more than twice its simulation error."""
    assert suite.Outcome("", "", "", "", 2000, share, 0.0097, (0.03, 0.07)).holds == holds


def test_a_cell_is_seeded(suite: ModuleType):
    """The same cell gives the same share whatever else runs."""
    assert suite.run((0, 50)) == suite.run((0, 50))
