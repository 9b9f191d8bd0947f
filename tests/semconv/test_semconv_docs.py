"""The page about instrumentations is what the captures say."""

from __future__ import annotations

from pathlib import Path

import instrumentations

PAGE = Path(__file__).parents[2] / "docs" / "instrumentations.md"


def test_the_page_is_what_the_captures_say() -> None:
    """`docs/instrumentations.md` is generated: run `python tests/semconv/instrumentations.py` when this fails."""
    assert PAGE.read_text() == instrumentations.page()
