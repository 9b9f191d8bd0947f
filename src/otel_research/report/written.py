"""A report's file: the format is the one its name ends in."""

from __future__ import annotations

from pathlib import Path

from otel_research.report import html, latex, markdown
from otel_research.report.document import Document
from otel_research.report.files import check_ending, write_whole

_FORMATS = {".html": html.render, ".md": markdown.render, ".tex": latex.render}


def check(path: str | Path) -> Path:
    """The path, if a report can be written to it; said before any number is computed."""
    return check_ending(path, tuple(_FORMATS))


def write(document: Document, path: str | Path) -> Path:
    """Write the report; the path."""
    target = check(path)
    return write_whole(target, _FORMATS[target.suffix.lower()](document), tuple(_FORMATS))
