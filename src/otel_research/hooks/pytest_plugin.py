"""`pytest --research`: the test run becomes an experiment, every test a trial.

A test's item is its node id, or what `@pytest.mark.research(item=..., condition=...)` says; a test
that runs again is the next repetition. Without `--research` nothing happens.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from otel_research.context import ENV_PREFIX

if TYPE_CHECKING:
    from otel_research.handle import Experiment
    from otel_research.trial import Trial

MARK = "research"
_OPTIONS = {"name": "EXPERIMENT", "condition": "CONDITION", "store": "STORE"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--research` and what goes with it."""
    group = parser.getgroup("research", "record the run as an experiment (otel-research)")
    group.addoption("--research", action="store_true", help="record this run: an experiment whose trials are the tests")
    group.addoption("--research-name", metavar="NAME", help="what the experiment is called (default: pytest)")
    group.addoption("--research-condition", metavar="NAME", help="the arm of tests that name none")
    group.addoption("--research-store", metavar="URL", help="store (default: OTEL_RESEARCH_STORE)")


def pytest_configure(config: pytest.Config) -> None:
    """Begin the experiment, or join it in a worker of pytest-xdist."""
    config.addinivalue_line("markers", f"{MARK}(item=None, condition=None): item and arm of the test's trial")
    if config.getoption("research"):
        config.pluginmanager.register(TestRun(config), "otel_research_run")


class TestRun:
    """The experiment of one run."""

    __test__ = False

    def __init__(self, config: pytest.Config) -> None:
        from otel_research import current_experiment, recorder
        from otel_research.hooks.start import begin

        self._environment = _ours()
        self._is_ours = recorder.current() is None
        # A worker of pytest-xdist is told by its controller; the other variables are the user's.
        os.environ.update(getattr(config, "workerinput", {}).get("otel_research") or _variables(config))
        begin()
        found = current_experiment()
        if found is None:
            raise pytest.UsageError("--research: recording could not be set up; the log above says why.")
        self.experiment: Experiment = found
        self._seen: Counter[tuple[str, str | None]] = Counter()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """A worker of pytest-xdist joins: it is told what a child process is told."""
        from otel_research import child_env

        node.workerinput["otel_research"] = child_env()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """The body of a test is the trial; its fixtures are in the experiment, outside the trial."""
        if not self.experiment.is_recording:
            # A test has closed the recorder; the others are to run all the same.
            return (yield)
        mark = item.get_closest_marker(MARK)
        said = mark.kwargs if mark is not None else {}
        name, condition = str(said.get("item", item.nodeid)), said.get("condition")
        repetition = self._seen[name, condition]
        self._seen[name, condition] += 1
        arm = contextlib.nullcontext() if condition is None else self.experiment.arm(condition)
        with arm:
            trial = self.experiment.trial(item=name, repetition=repetition, **{"test.case.name": item.nodeid})
            trial.__enter__()
            error: BaseException | None = None
            try:
                return (yield)
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._end(trial, error)

    def _end(self, trial: Trial, error: BaseException | None) -> None:
        """A test that skips itself did not try: it is taken out, with its reason. Every other error is a failure."""
        if isinstance(error, pytest.skip.Exception):
            trial.__exit__(None, None, None)
            if trial.id is not None:
                self.experiment.exclude(trial, reason=f"skipped: {error.msg or 'no reason given'}")
        else:
            trial.__exit__(type(error) if error is not None else None, error, None)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Stop what was begun here, and leave the environment as it was."""
        from otel_research import recorder

        active = recorder.current()
        if self._is_ours and active is not None:
            active.close()
        for name in _ours().keys() - self._environment.keys():
            del os.environ[name]
        os.environ.update(self._environment)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One line at the end: what was recorded, and where."""
        terminalreporter.write_line(
            f"research: experiment {self.experiment.name!r} {self.experiment.id}: {self.experiment.ledger()} "
            f"in {self.experiment.library.url}"
        )


def _ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(ENV_PREFIX)}


def _variables(config: pytest.Config) -> dict[str, str]:
    """The variables that the options stand for; the run has a name in any case, unless it joins another."""
    said = {variable: config.getoption(f"research_{option}") for option, variable in _OPTIONS.items()}
    if f"{ENV_PREFIX}EXPERIMENT_ID" not in os.environ and not os.environ.get(f"{ENV_PREFIX}EXPERIMENT"):
        said["EXPERIMENT"] = said["EXPERIMENT"] or "pytest"
    return {ENV_PREFIX + variable: value for variable, value in said.items() if value}
