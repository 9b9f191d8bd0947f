"""Whether a file's format is one that this version reads: asked first, because a newer one may not even decode."""

from __future__ import annotations

from pathlib import Path

import msgspec

from otel_research.errors import StoreError


class _Versioned(msgspec.Struct):
    """All that every version of a JSON file says."""

    format_version: int = 1


def check_format_version(data: bytes, path: Path | str, known: int) -> None:
    """Refuse JSON of a newer format than `known`, naming the file and both versions, with a `StoreError`.

    What does not even tell its format is for the reader of the whole to describe.
    """
    try:
        told = msgspec.json.decode(data, type=_Versioned).format_version
    except msgspec.DecodeError:
        return
    if told > known:
        raise StoreError(
            f"{path} was written by a newer otel-research (format {told}, this version reads up to {known}). "
            "Upgrade: pip install -U otel-research."
        )
