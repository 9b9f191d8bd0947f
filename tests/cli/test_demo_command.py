"""`otel-research demo`, as a new user runs it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

PROGRAM = [sys.executable, "-c", "from otel_research.cli import main; main(prog_name='otel-research')"]


def otel_research(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    path = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [*PROGRAM, *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": path, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


def test_the_commands_it_ends_with_work(folder: Path) -> None:
    """It runs in the working directory, ends with three commands to type, and each of them answers."""
    ran = otel_research(folder, "demo", "--trials", "12")
    assert ran.returncode == 0, ran.stderr
    assert "lost 0" in ran.stdout
    assert "The server's own count agrees" in ran.stdout
    commands = [shlex.split(line) for line in ran.stdout.splitlines() if line.startswith("  otel-research ")]
    assert len(commands) == 3
    for command in commands:
        answer = otel_research(folder, *command[1:])
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.strip()


def test_its_json_is_the_contract(folder: Path) -> None:
    """Standard output is one JSON document with the five promised keys, and its files are there and agree."""
    ran = otel_research(folder, "demo", "--trials", "12", "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert {"ledger", "experiment", "conditions", "comparison", "files"} <= told.keys()
    assert {block["unit"] for block in told["conditions"].values()} == {"trial"}
    assert sum(block["n"] for block in told["conditions"].values()) == 12
    csv, parquet = (pl.read_csv(told["files"]["csv"]), pl.read_parquet(told["files"]["parquet"]))
    lines = Path(told["files"]["jsonl"]).read_text().splitlines()
    assert csv.height == parquet.height == len(lines) == told["ledger"]["stored"]
    assert Path(told["files"]["csv"]).parent == folder / "otel-research-demo"


def test_too_few_trials_are_refused(folder: Path) -> None:
    """Wrong use: one line, exit code 2."""
    ran = otel_research(folder, "demo", "--trials", "2")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "at least 4 trials" in ran.stderr
