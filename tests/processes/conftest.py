"""Programs in processes of their own, which all use one store."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

import otel_research as otr
from otel_research import context, lifecycle, recorder
from otel_research.capture import registry
from otel_research.testing import recording

PROGRAM = """
import json, os, signal, sys, time
import otel_research as otr
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("app")

def call(name="chat", tokens=10, **more):
    usage = {"gen_ai.usage.input_tokens": tokens, "gen_ai.usage.output_tokens": 5}
    named = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini"}
    with tracer.start_as_current_span(name, attributes={**named, **usage, **more}):
        pass
"""


Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert recorder.current() is None
    assert registry.running == {}
    assert lifecycle._live == {}
    assert (context.process_scope(), context.environment_scope(), context.context_scope()) == (None, None, None)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"disk:{tmp_path / 'store'}"


@pytest.fixture
def start(tmp_path: Path, store: str) -> Iterator[Started]:
    """Start a program in a process of its own, with `PROGRAM` before it and `prefix` before its command; it is ended with the test."""
    begun: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str, prefix: Sequence[str] = (), **variables: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        kept["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", PROGRAM + textwrap.dedent(code), *arguments],
            cwd=tmp_path,
            env={**kept, "OTEL_RESEARCH_STORE": store, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start: Started) -> Callable[..., str]:
    """Run a program to its end; what it printed. One that fails, fails the test."""

    def run(code: str, *arguments: str, **variables: str) -> str:
        process = start(code, *arguments, **variables)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out

    return run


@pytest.fixture
def owner(store: str) -> Iterator[TracerProvider]:
    """This process records into the store that all programs use."""
    with recording(store) as (_, provider):
        yield provider


@pytest.fixture
def stored(store: str) -> Callable[[str], otr.Experiment]:
    """An experiment of the store by its name, read by a library of its own."""
    from otel_research.handle import Experiment
    from otel_research.store.library import Library

    def stored(name: str) -> otr.Experiment:
        library = Library(store)
        (record,) = library.find(name=name)
        return Experiment(record, library)

    return stored
