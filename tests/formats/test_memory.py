"""Exports are streamed: memory does not grow with the number of spans."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys
import polars as pl
from polars.io.plugins import register_io_source
from conftest import row
from otel_research.formats import export
from otel_research.spans import schema

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)

rows = [row(number, attributes={"prompt": "x" * 1500, "n": number}) for number in range(1000)]
piece = pl.DataFrame(rows, schema=schema.polars_schema())

def source(columns, predicate, count, size):
    for _ in range(200):
        yield piece.select(columns) if columns else piece

before = peak()
export(register_io_source(source, schema=piece.schema), sys.argv[1], sys.argv[2])
print(peak() - before)
"""


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_memory_stays_flat(tmp_path: Path, format: str) -> None:
    """200,000 spans of some 2 KB are over 400 MB; writing them takes less than half of that."""
    path = [str(Path(__file__).parent), *(path for path in sys.path if path)]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, format, str(tmp_path / "spans")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 200
    assert (tmp_path / "spans").stat().st_size > 100_000
