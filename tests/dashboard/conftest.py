"""One store and one server for all tests of the folder; a browser for those that look."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stores import Made, Server, make

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kept pages go to a folder of the tests, not to the one of who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("dashboard") / "store")


@pytest.fixture(scope="session")
def server(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    serving = Server(made, tmp_path_factory.mktemp("state"))
    yield serving
    serving.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; in CI it has to be there, elsewhere its absence is told.

    Not for the whole session: while Playwright runs, its thread has a running event loop, and no other test may
    start one there.
    """
    from playwright.sync_api import sync_playwright

    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no chromium: .ci/run installs it")
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield started
        started.close()


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: OTEL_RESEARCH_TEST_ARTEFACTS, else a temporary folder."""
    said = os.environ.get("OTEL_RESEARCH_TEST_ARTEFACTS")
    folder = Path(said) if said else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
