"""The page of guarantees names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()


def test_every_guarantee_names_its_test() -> None:
    """Each row of the first table has a test file or folder of this repository in its last cell."""
    rows = [line for line in PAGE.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        shown_by = row.rstrip(" |").rpartition(" | ")[2]
        named = re.findall(r"`((?:tests/|test_)[\w/.]+)`", shown_by)
        assert named, row
        for name in named:
            path = name if name.startswith("tests/") else f"{named[0].rpartition('/')[0]}/{name}"
            assert (ROOT / path).exists(), path
