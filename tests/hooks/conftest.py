"""A program that knows nothing of us, and ways to start it as users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import otel_research as otr

SPANS = 6000
APP = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

class Slow(SpanExporter):
    received = 0
    def export(self, spans):
        import time
        time.sleep(0.3)
        Slow.received += len(spans)
        return SpanExportResult.SUCCESS

count = int(sys.argv[1])
slow = BatchSpanProcessor(Slow(), max_queue_size=512)
provider = trace.get_tracer_provider()
provider.add_span_processor(slow)
tracer = trace.get_tracer("app")
for number in range(count):
    with tracer.start_as_current_span(f"work {number}"):
        pass
slow.shutdown()
sys.stdout.write(json.dumps({"received": Slow.received}) + "\\n")
"""
"""Makes spans as fast as it can, beside an exporter that cannot keep up.

Its last line is one `write`: `print` makes two, and a console exporter's thread writes between them.
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Stored = Callable[..., otr.Experiment]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"disk:{tmp_path / 'store'}"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    file = tmp_path / "app.py"
    file.write_text(APP)
    return file


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command line in the test's folder, without the developer's OTEL_* variables."""

    def run(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        kept["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        quiet = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "NO_COLOR": "1"}
        # No program here calls a model, and importing the clients is most of what starting one takes.
        quiet["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "openai,anthropic"
        return subprocess.run(
            [str(word) for word in words],
            cwd=tmp_path,
            env={**kept, **quiet, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def instrument(run: Run) -> Run:
    """`opentelemetry-instrument python ...`."""
    command = [sys.executable, "-c", "from opentelemetry.instrumentation.auto_instrumentation import run; run()"]
    return lambda *words, **variables: run(*command, sys.executable, *words, **variables)


@pytest.fixture
def otel_research(run: Run) -> Run:
    """`otel-research ...`."""
    command = [sys.executable, "-c", "from otel_research.cli import main; main()"]
    return lambda *words, **variables: run(*command, *words, **variables)


@pytest.fixture
def stored(store: str) -> Stored:
    """The one experiment of the store, read by a library of its own."""

    def stored() -> otr.Experiment:
        from otel_research.store.library import Library

        library = Library(store)
        (record,) = library.find()
        return otr.Experiment(record, library)

    return stored


def received(done: subprocess.CompletedProcess[str]) -> int:
    """How many spans the program's own slow exporter got."""
    assert done.returncode == 0, done.stderr
    # Among the lines of a console exporter, perhaps.
    (line,) = (line for line in done.stdout.splitlines() if line.startswith('{"received"'))
    count: int = json.loads(line)["received"]
    return count


def whole(experiment: otr.Experiment) -> tuple[int, int]:
    """Different spans of the program that are stored, and what was lost."""
    import polars as pl

    rows = experiment.spans().filter(pl.col("scope") == "app").select("name").unique().collect()
    return rows.height, experiment.ledger().lost_total
