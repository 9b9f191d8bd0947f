"""Runs the cells, each with a seed of its own."""

from __future__ import annotations

import argparse
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import calibration
from calibration import CELLS
from calibration.judged import Outcome
from calibration.page import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "calibration.md"


def run(job: tuple[int, int]) -> list[Outcome]:
    """One cell (or a family of them), with a seed of its own: the same whatever runs beside it."""
    index, n = job
    return CELLS[index].outcomes(seeded, n)


def seeded(name: str) -> np.random.Generator:
    """The generator of what is called so."""
    return np.random.default_rng([20261123, zlib.crc32(name.encode())])


def main(arguments: list[str] | None = None) -> int:
    """Run every cell; 0 if all judged ones hold."""
    parser = argparse.ArgumentParser(description=(calibration.__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the simulations, nothing written")
    parser.add_argument("--only", default="", help="cells whose name contains this")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    jobs = [
        (index, max(100, cell.n // 10) if given.quick else cell.n)
        for index, cell in enumerate(CELLS)
        if given.only in cell.name
    ]
    started, outcomes = time.monotonic(), []
    with ProcessPoolExecutor(given.workers) as pool:
        for outcome in (one for found in pool.map(run, jobs) for one in found):
            outcomes.append(outcome)
            print(f"{'ok  ' if outcome.holds else 'MISS'} {outcome.cell}: {100 * outcome.share:.2f} %", flush=True)
    print(f"{len(outcomes)} cells in {time.monotonic() - started:.0f} s")
    if not given.quick and not given.only:
        PAGE.write_text(page(outcomes))
    return 0 if all(outcome.holds for outcome in outcomes) else 1
