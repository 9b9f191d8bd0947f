"""Writing a report or a figure: the whole file or none, in the format that its name ends in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otel_research.errors import ConfigurationError
from otel_research.formats.output import appearing


def write_whole(path: str | Path, content: str, endings: Sequence[str]) -> Path:
    """Write the text as UTF-8; an existing file is replaced only by a whole one.

    Raises:
        ConfigurationError: the name has none of the endings, or cannot be written.
    """
    target = check_ending(path, endings)
    with appearing(target) as file:
        file.write(content.encode("utf-8", "replace"))
    return target


def check_ending(path: str | Path, endings: Sequence[str]) -> Path:
    """The path, if its ending says a format that can be written."""
    target = Path(path)
    if target.suffix.lower() not in endings:
        raise ConfigurationError(f"{str(path)!r} does not say what to write: let it end in {' or '.join(endings)}.")
    return target
