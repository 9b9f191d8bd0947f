"""The tables of one tool, measured in its environment and kept in measured.json, from which docs/field.md is written."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from field.load import KILLED
from field.page import MEASURED, PAGE, page
from field.tools import named
from tests.sink import listening

TRIALS = 1_000
"""Trials of the data frame: 5,000 spans."""
TRACED = ("burst", "kill", "overhead")
"""Tables in which variants of a tool differ."""


def main(name: str, tables: Sequence[str]) -> int:
    """Measure, keep and write; without tables all of them. A variant traces otherwise, and answers the same."""
    for table in tables or TABLES:
        measure(name, table)
    for variant in getattr(named(name), "VARIANTS", ()):
        for table in set(tables or TRACED) & set(TRACED):
            measure(variant, table)
    return 0


def measure(name: str, table: str) -> None:
    """One tool's figures of one table, or why there are none."""
    why = named(name).NOT_RUN.get(table)
    keep(name, table, {"not run": why} if why else {"under": _conditions(), **TABLES[table](name)})


def _conditions() -> dict[str, Any]:
    """Which share of the machine the run gets: its priority, and how many programs wanted a core when it began."""
    fixed = os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)
    return {"priority": "real-time" if fixed else f"nice {os.nice(0)}", "load": round(os.getloadavg()[0], 1)}


def keep(name: str, table: str, found: dict[str, Any]) -> None:
    """Put one tool's figures of one table among the others, and write the page anew."""
    print(name, table, json.dumps(found), flush=True)
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    tool = named(name)
    whose = {"title": tool.TITLE, "version": version(tool.PACKAGE), "day": date.today().isoformat()}
    measured.setdefault(table, {})[name] = whose | found
    MEASURED.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(measured))


def child(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """A program in a folder of its own: its exit code, and the JSON of its last line that is some."""
    program = [sys.executable, *words]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "MLFLOW_", "PHOENIX_"))}
    done = subprocess.run(program, cwd=folder, env=kept, capture_output=True, text=True, timeout=1500)
    said = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not said or done.returncode not in (0, -9):
        raise SystemExit(
            f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    return done.returncode, json.loads(said[-1])


LOAD = str(Path(__file__).with_name("load.py"))
ASK = str(Path(__file__).with_name("ask.py"))


def traced(name: str, deed: str, *words: str) -> dict[str, Any]:
    """One run of load.py, and how many of its spans arrived: at the backend, or in the tool's own store."""
    tool = named(name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made, listening() as sink:
        folder = Path(made)
        if hasattr(tool, deed):
            _, told = child(folder, ASK, name, deed, *words)
        else:
            _, told = child(folder, LOAD, name, deed, sink.url, *words)
        told["made"] = round(told["made"] * getattr(tool, "SENT", 1))
        if hasattr(tool, "stored"):
            _, stored = child(folder, ASK, name, "stored")
            return told | {"stored": stored["answer"]}
        is_span = getattr(tool, "is_span", lambda received: True)
        return told | {"stored": len({one.ids for one in sink.received if is_span(one)})}


def killed(name: str) -> dict[str, Any]:
    """Runs that are killed; what they made in all, and what is left of each."""
    runs = [traced(name, "kill", str(count)) for count in KILLED]
    return {"made": sum(run["made"] for run in runs), "stored": [run["stored"] for run in runs]}


def asked(name: str, question: str, *words: str) -> dict[str, Any]:
    """What a function of the tool answers, in a folder of its own; it is given a backend if it wants one."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made, listening() as sink:
        wants = "backend" in inspect.signature(getattr(named(name), question)).parameters
        return child(Path(made), ASK, name, question, *words, *([sink.url] if wants else []))[1]["answer"]


TABLES: dict[str, Callable[[str], dict[str, Any]]] = {
    "burst": lambda name: traced(name, "burst"),
    "kill": killed,
    "overhead": lambda name: traced(name, "overhead"),
    "frames": lambda name: asked(name, "frame", str(TRIALS)),
    "cost": lambda name: asked(name, "cost"),
    "statistics": lambda name: asked(name, "intervals"),
}
