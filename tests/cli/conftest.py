"""A store with one experiment in it, and a way to run commands on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import otel_research as otr
from otel_research.cli import main
from otel_research.testing import recording

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
}
Run = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A disk store with the experiment "prompts": two conditions, four trials each, one call per trial, one failure."""
    url = f"disk:{tmp_path / 'store'}"
    with recording(url) as (_, provider):
        tracer = provider.get_tracer("app")
        with otr.experiment("prompts", tags=("dataset:mmlu",), hypothesis="short is faster", metadata={"k": 1}) as exp:
            for item in range(4):
                for condition in ("short", "long"):
                    with exp.arm(condition), exp.trial(item=item) as trial:
                        with tracer.start_as_current_span("chat", attributes=CALL):
                            pass
                        if (item, condition) == (0, "long"):
                            trial.fail("no answer")
                        trial.score("accuracy", item % 2)
    return url


@pytest.fixture
def run(store: str) -> Run:
    """Runs a command on the store, in this process: `run("ls", "--json")`."""

    def invoke(*words: str, at: str | None = None) -> Result:
        return CliRunner().invoke(main, [*words, "--store", at or store], catch_exceptions=False)

    return invoke


@pytest.fixture
def experiment(store: str) -> otr.Experiment:
    """The experiment of the store, as the library gives it."""
    from otel_research.store.library import Library

    library = Library(store)
    return otr.Experiment(library.find()[0], library)
