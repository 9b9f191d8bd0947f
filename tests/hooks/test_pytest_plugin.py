"""`pytest --research`, run on a small test file in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.hooks.conftest import Run, Stored

import otel_research as otr

TESTS = """
import pytest
from opentelemetry import trace

@pytest.fixture
def prepared():
    with trace.get_tracer("app").start_as_current_span("fixture"):
        return 1

@pytest.mark.parametrize("prompt", [
    pytest.param("short", marks=pytest.mark.research(item="q1", condition="short")),
    pytest.param("long", marks=pytest.mark.research(item="q1", condition="long")),
])
def test_prompt(prompt, prepared):
    with trace.get_tracer("app").start_as_current_span("call"):
        assert prompt

def test_fails():
    assert False, "not this time"

def test_skips():
    pytest.skip("no key")
"""


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_tests_are_trials(options: list[str], run: Run, tmp_path: Path, store: str, stored: Stored) -> None:
    """One experiment, also with workers; item and arm from the mark, else the node id; a skip is excluded, not failed."""
    (tmp_path / "test_app.py").write_text(TESTS)
    given = ["--research", "--research-name", "ci", "--research-store", store, "-p", "no:cacheprovider"]
    done = run(sys.executable, "-m", "pytest", "-q", *given, *options, "test_app.py")
    assert done.returncode == 1, done.stdout + done.stderr
    exp = stored()
    assert (exp.name, exp.state, exp.ended_by) == ("ci", "stopped", "user")
    assert f"research: experiment 'ci' {exp.id}" in done.stdout
    trials = exp.trials().select("item_id", "condition", "outcome").collect().rows()
    assert sorted(trials, key=str) == [
        ("q1", "long", "ok"),
        ("q1", "short", "ok"),
        ("test_app.py::test_fails", None, "failed"),
        ("test_app.py::test_skips", None, "excluded"),
    ]
    assert [note["reason"] for note in exp.annotations()] == ["skipped: no key"]
    inside = exp.spans().select("name", "trial_id").collect().rows()
    assert sorted(name for name, trial in inside if trial is None) == ["fixture", "fixture"]
    assert isinstance(exp.ledger(), otr.Ledger)


def test_without_the_option_nothing_happens(run: Run, tmp_path: Path) -> None:
    """Being installed is not being asked: no store, no recorder, the marks are known all the same."""
    (tmp_path / "test_app.py").write_text(TESTS)
    done = run(sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "test_app.py")
    assert "2 passed" in done.stdout or "1 failed, 2 passed, 1 skipped" in done.stdout
    assert "research:" not in done.stdout
    assert not (tmp_path / ".otel_research").exists()
