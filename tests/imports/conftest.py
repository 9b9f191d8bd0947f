from __future__ import annotations

from pathlib import Path

import pytest

from otel_research.store.library import Library


@pytest.fixture
def store(tmp_path: Path) -> str:
    """The URL of a store of the test's own."""
    return f"disk:{tmp_path / 'store'}"


@pytest.fixture
def library(store: str) -> Library:
    """The same store, opened."""
    return Library(store)
