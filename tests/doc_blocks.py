"""Fenced blocks of the documentation, and the how-to blocks that need packages of their own.

    python -m tests.doc_blocks dspy

runs the block of that title in docs/how-to.md, after the page's first one: `nox -s vendors` does, in an environment with its packages.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CLIENTS = ROOT / "docs" / "how-to.md"
SETUPS = ROOT / "docs" / "how-to-setups.md"
FENCE = re.compile(r'^```(\w*)(?: title="([^"]*)")?[^\n]*\n(.*?)^```', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block; one with a title is run elsewhere than the rest of its page."""

    page: Path
    line: int
    language: str
    title: str
    code: str


def blocks(page: Path) -> Iterator[Block]:
    """In the order in which they stand."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        yield Block(page, text[: found.start()].count("\n") + 1, found[1], found[2] or "", found[3])


def titled(page: Path) -> dict[str, Block]:
    """Title -> its block."""
    return {block.title: block for block in blocks(page) if block.title}


def run(title: str) -> int:
    """Run a client's block against the model server; how many requests it was checked with."""
    first = next(block for block in blocks(CLIENTS) if block.language == "python")
    shared: dict[str, object] = {"__name__": "__main__"}
    for block in (first, titled(CLIENTS)[title]):
        code = "\n" * block.line + block.code  # so that an error names the page's line
        exec(compile(code, str(block.page), "exec"), shared)
    return int(str(shared["checked"]))


if __name__ == "__main__":
    requests = run(sys.argv[1])
    print(f"{sys.argv[1]}: the block of docs/how-to.md ran, {requests} requests equal the server's ledger")
    sys.exit(0 if requests else 1)
