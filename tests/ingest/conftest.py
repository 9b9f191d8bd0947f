from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from receivers import Served

from otel_research.handle import Experiment
from otel_research.store.library import Library


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start receivers over the store of the test."""
    started: list[Served] = []

    def start(*options: str, **ports: int) -> Served:
        served = Served(tmp_path / "store", options, ports).start()
        started.append(served)
        return served

    yield start
    for served in started:
        if served.process.poll() is None:
            served.kill()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """The store of the test, opened."""
    return Library(f"disk:{tmp_path / 'store'}")


@pytest.fixture
def found(library: Library) -> Callable[[str], Experiment]:
    """The only experiment with a name."""

    def find(name: str = "received") -> Experiment:
        (record,) = library.find(name=name)
        return Experiment(record, library)

    return find
