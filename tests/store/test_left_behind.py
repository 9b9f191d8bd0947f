"""A process that was killed while its store is elsewhere: the next one on that machine delivers what it left."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import otel_research as otr
from otel_research.spans.digest import content_hash
from otel_research.store.library import Library
from otel_research.store.postgres import PostgresStore
from otel_research.testing import recording

KILLED = """
import os, signal, sys
import otel_research as otr
from opentelemetry import trace
recorder = otr.configure(fsync="never")
exp = otr.join_experiment(sys.argv[1])
tracer = trace.get_tracer("node")
for number in range(20):
    tracer.start_span("early").end()
assert recorder.flush().pending == 0
never_ends = [tracer.start_span("open") for _ in range(3)]
for number in range(10):
    tracer.start_span("late").end()
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A node that joins, delivers some, and dies with three spans open and ten on their way."""

ANOTHER = """
import otel_research as otr
from opentelemetry import trace
with otr.experiment("another"):
    trace.get_tracer("x").start_span("s").end()
"""
"""A program that knows nothing of the first, and uses the same store from the same folder."""

LIST = "import sys; sys.argv = ['otel-research', 'ls']; from otel_research.cli import main; main()"

EXPECTED = {("early", "unset"): 20, ("late", "unset"): 10, ("open", "interrupted"): 3, ("ours", "unset"): 5}


def told(url: str, experiment_id: str) -> dict[tuple[str, str], int]:
    found = PostgresStore(url).scan(experiment_id).group_by("name", "status").agg(pl.len()).collect()
    return {(name, status): count for name, status, count in found.iter_rows()}


@pytest.fixture
def on_node(tmp_path: Path, postgres_url: str, run_python: Callable[..., Any]) -> Callable[..., Any]:
    """Run code on the other node: in a folder, and so with a local journal, of its own."""
    node = tmp_path / "node"
    node.mkdir()
    variables = {"OTEL_RESEARCH_STORE": postgres_url}
    return lambda code, *words: run_python(f"import os; os.chdir({str(node)!r})\n{code}", *words, **variables)


@pytest.mark.parametrize(
    ("next_one", "still_runs"), [(ANOTHER, True), (LIST, False)], ids=["program, running", "command, over"]
)
def test_the_next_process_there_delivers_it(
    postgres_url: str,
    on_node: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    next_one: str,
    still_runs: bool,
) -> None:
    """Whether the experiment still runs on the other node or has ended there; open spans too, and the ledger balances."""
    monkeypatch.chdir(tmp_path)
    with recording(postgres_url) as (_, provider):
        exp = otr.start_experiment("of two nodes")
        for _ in range(5):
            provider.get_tracer("x").start_span("ours").end()
        died = on_node(KILLED, exp.id)
        assert died.returncode == -signal.SIGKILL, died.stderr
        if not still_runs:
            otr.stop_experiment(exp)
            assert told(postgres_url, exp.id) == {("early", "unset"): 20, ("ours", "unset"): 5}
        done = on_node(next_one)
        assert done.returncode == 0, done.stderr
        if still_runs:
            theirs = {key: count for key, count in EXPECTED.items() if key[0] != "ours"}
            assert theirs.items() <= told(postgres_url, exp.id).items()
            otr.stop_experiment(exp)
        assert told(postgres_url, exp.id) == EXPECTED
        ledger = exp.ledger()
    assert (ledger.started, ledger.ended, ledger.interrupted, ledger.stored) == (38, 35, 3, 35)
    assert ledger.is_balanced
    elsewhere = Library(postgres_url, local_root=tmp_path / "a third machine")
    assert elsewhere.get(exp.id).content_hash == content_hash(elsewhere.scan(exp.id))
    assert otr.Experiment(elsewhere.get(exp.id), elsewhere).ledger().is_balanced
    assert list((tmp_path / "node" / ".otel_research" / exp.id / "journal").glob("*.wal")) == []
