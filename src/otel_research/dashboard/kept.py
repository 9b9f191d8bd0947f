"""Pages of experiments that are over, kept: computed once, there at once ever after.

Not in the store, which a dashboard only reads, but in the user's cache folder (XDG_CACHE_HOME), readable by the
user alone: one folder per store, experiment and version. What cannot be read or written there is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from otel_research.environment import installed_version
from otel_research.experiments import ExperimentRecord
from otel_research.store.files import make_folder, write_whole
from otel_research.store.library import Library

_SOURCE = Path(__file__).parent.parent


def version_of(library: Library, record: ExperimentRecord) -> str | None:
    """The same as long as its numbers are; None of an experiment whose rows may still change."""
    if record.state == "running" or record.content_hash is None:
        return None
    about = (
        record,
        library.catalogue.annotations(record.id),
        library.ledgers(record.id),
        # Rows may come late, or from a copy of another node: the hash is of what there was at the end.
        library.counts(record.id),
        _program(),
    )
    return hashlib.sha256(msgspec.json.encode(about)).hexdigest()[:32]


@cache
def _program() -> tuple[object, ...]:
    """What computes the numbers: versions, and when its files were last changed."""
    versions = [installed_version(name) for name in ("otel-research", "polars", "genai-prices")]
    return (*versions, max(path.stat().st_mtime_ns for path in _SOURCE.rglob("*.py")))


class Kept:
    """The pages of one store."""

    def __init__(self, library: Library) -> None:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        store = hashlib.sha256(library.url.encode()).hexdigest()[:16]
        self._library = library
        self._folder = home / "otel-research" / "pages" / store
        self._tidy()

    def of(self, record: ExperimentRecord) -> Pages:
        """The pages of an experiment as it is now; those of its earlier versions are forgotten."""
        version = version_of(self._library, record)
        folder = self._folder / record.id
        for other in _in(folder):
            if other.name != version:
                shutil.rmtree(other, ignore_errors=True)
        return Pages(None if version is None else folder / version)

    def _tidy(self) -> None:
        kept = _in(self._folder)
        known = {record.id for record in self._library.catalogue.list_experiments()} if kept else set()
        for folder in kept:
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)


class Pages:
    """What is kept of one version of an experiment; without a folder nothing is."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def once(self, name: str, compute: Callable[[], Any]) -> Any:
        """A section as it was computed before, else now."""
        if self._folder is None:
            return compute()
        path = self._folder / f"{name}.json"
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(path.read_bytes())
        section = compute()
        with contextlib.suppress(OSError):
            make_folder(path.parent)
            write_whole(path, msgspec.json.encode(section))
        return section


def _in(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
