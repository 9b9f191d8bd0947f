"""Every example runs as it is, in an empty folder."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from otel_research.store.base import Store
from otel_research.testing import StoreContract

pytestmark = [pytest.mark.once, pytest.mark.sdk]  # examples in processes of their own

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def test_there_are_examples() -> None:
    """The folder is not empty, so the test below tests something."""
    assert EXAMPLES


def test_the_page_of_examples_names_each_of_them() -> None:
    """`docs/examples.md` has one row per example, and no row without one."""
    page = (Path(__file__).parents[1] / "docs/examples.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+\.py)`", page, re.MULTILINE)) == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    """It ends without an error, says something, and begins with what it shows."""
    assert example.read_text().startswith('"""')
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    run = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, f"{run.stdout[-2000:]}\n{run.stderr[-4000:]}"
    assert run.stdout.strip()


class TestTheStoreOfTheExample(StoreContract):
    """A store written by a user, in an example, keeps what every store promises."""

    def open_store(self, folder: Path) -> Store:
        spec = importlib.util.spec_from_file_location("own_store", Path(__file__).parents[1] / "examples/own_store.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        store: Store = module.SqliteStore(folder / "spans.db")
        return store
