"""Programs of these tests, run in processes of their own by `otel_research.selftest`."""

from __future__ import annotations

import sys
from pathlib import Path

from otel_research.selftest.process import Ran, run
from otel_research.selftest.scenario import Scenario

PRELUDE = """
import os, sys
from pathlib import Path
from opentelemetry import trace
import otel_research as otr
from otel_research.selftest.scenario import Host, ended_call, in_threads
host = Host(Path(sys.argv[1]), int(sys.argv[2]))
"""
STARTED = """
otr.configure(store=host.store)
exp = otr.start_experiment("crash")
tracer = trace.get_tracer("app")
"""


def run_code(code: str, folder: Path, *, prefix: tuple[str, ...] = (), kill_after: int | None = None) -> Ran:
    """Run code after the prelude, as `python -c`, behind another command if one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    scenario = Scenario(
        name="code",
        says="",
        program=lambda host: None,
        kill_after=kill_after,
        wrap=lambda command, place: [*prefix, sys.executable, "-c", PRELUDE + code, *command[-2:]],
    )
    return run(scenario, folder)
