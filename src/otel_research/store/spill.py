"""Where an experiment's spans may have gone besides, noted in its folder: `spill` holds the path of the second place."""

from __future__ import annotations

from pathlib import Path

from otel_research.store.files import make_folder, write_whole

_NAME = "spill"


def note(folder: Path, second: Path) -> None:
    """Write down the second place of the experiment in that folder."""
    make_folder(folder)
    write_whole(folder / _NAME, str(second).encode("utf-8", "surrogateescape"))


def noted(folder: Path) -> Path | None:
    """The second place that was written down, or None."""
    try:
        return Path((folder / _NAME).read_bytes().decode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        return None
