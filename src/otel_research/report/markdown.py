"""A report as Markdown: prose and tables; a figure is told by its title and caption."""

from __future__ import annotations

import re
from collections.abc import Sequence

from otel_research.report.canvas import Figure
from otel_research.report.document import Block, Document, Prose, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$])")


def render(document: Document) -> str:
    """The text; what a user named is no markup."""
    parts = [f"# {escaped(document.title)}", *map(escaped, document.lead)]
    for section in document.sections:
        blocks = [_block(block) for block in section.blocks if not isinstance(block, Figure)]
        if blocks:
            parts += [f"## {escaped(section.title)}", *blocks]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text without markup, on one line."""
    flat = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    # A list, a rule or a number at the start of a line would be one.
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", re.sub(r"^([-+=])", r"\\\1", flat))


def _block(block: Block) -> str:
    if isinstance(block, Prose):
        return escaped(block.text)
    assert isinstance(block, Table)
    return "\n".join([_row(block.header), _row(["---"] * len(block.header), raw=True), *map(_row, block.rows)])


def _row(cells: Sequence[str], *, raw: bool = False) -> str:
    shown = cells if raw else ["<br>".join(escaped(part) for part in cell.split("\n")) for cell in cells]
    return f"| {' | '.join(shown)} |"
