"""What survives a power cut: a file's content, and a name in a folder."""

from __future__ import annotations

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """fsync a file by its name. Raises `OSError`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that a name made or changed in it survives. Raises `OSError`, always on Windows."""
    sync_file(folder)
