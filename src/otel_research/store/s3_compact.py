"""Small objects into larger ones: what a long run delivers every ten seconds would take a reader thousands of requests.

    merge       neighbouring small files, each span once, into one object        named by its content
    declare     the manifest that names it instead of them                       create-only
    sweep       the files it replaced, `GRACE_SECONDS` after that                readers may have begun with them

Each manifest is a whole state, so that no reader sees a span missing or twice. Only neighbours are
merged: of two rows of one span the first counts, and that stays so.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from otel_research.store.manifest import Manifest, Sealed

SMALL_BYTES = 8 << 20
MERGED_BYTES = 32 << 20
"""Compressed; what is merged is in memory at once."""
MANY = 32
"""So many small neighbours are merged while the experiment still runs."""
GRACE_SECONDS = 3600.0
"""How long a reader may take that has begun with the files that were replaced."""

_SECOND = 1_000_000_000


def groups(current: Manifest, at_least: int) -> Iterator[tuple[Sealed, ...]]:
    """Neighbouring small files that make one of at most `MERGED_BYTES`, where there are `at_least` so many."""
    group: list[Sealed] = []
    for entry in (*current.sealed, None):
        if entry is not None and entry.file is None:
            continue  # holds no rows, so it is nobody's neighbour
        is_small = entry is not None and entry.size is not None and entry.size <= SMALL_BYTES
        if entry is None or not is_small or _bytes(group) + (entry.size or 0) > MERGED_BYTES:
            if len(group) >= max(2, at_least):
                yield tuple(group)
            group = []
        if entry is not None and is_small:
            group.append(entry)


def _bytes(group: list[Sealed]) -> int:
    return sum(entry.size or 0 for entry in group)


def with_merged(current: Manifest, group: tuple[Sealed, ...], merged: Sealed, now_ns: int) -> Manifest:
    """The manifest with one file in place of several; unchanged where another writer has replaced one of them already."""
    at = {entry.name: place for place, entry in enumerate(current.sealed)}
    if any(entry.name not in at for entry in group):
        return current
    gone = {entry.name for entry in group}
    first = at[group[0].name]
    before = [entry for entry in current.sealed[:first] if entry.name not in gone]
    after = [entry for entry in current.sealed[first:] if entry.name not in gone]
    replaced = {entry.file: now_ns for entry in group if entry.file is not None}
    return msgspec.structs.replace(current, sealed=(*before, merged, *after), replaced={**current.replaced, **replaced})


def due(current: Manifest, now_ns: int) -> list[str]:
    """Files that were replaced so long ago that nobody reads them any more."""
    named = {entry.file for entry in current.sealed}
    long_ago = now_ns - int(GRACE_SECONDS * _SECOND)
    return [file for file, at in current.replaced.items() if at < long_ago and file not in named]


def without(current: Manifest, files: list[str]) -> Manifest:
    """The manifest after these were removed."""
    left = {file: at for file, at in current.replaced.items() if file not in files}
    return current if left == current.replaced else msgspec.structs.replace(current, replaced=left)
