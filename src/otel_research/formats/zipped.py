"""The members of a zip archive, also those packed with zstd, which `zipfile` reads only from Python 3.14 on."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial

_ZSTD = 93
_LOCAL_HEADER = 30


class Unreadable(ValueError):
    """The archive, or one member of it, is damaged or packed in an unknown way."""


def members(content: bytes) -> dict[str, Callable[[], bytes]]:
    """Name of each member -> a function that unpacks it; raises `Unreadable`."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, OSError) as exc:
        raise Unreadable(f"the archive is damaged: {exc}") from exc
    return {info.filename: partial(_unpacked, archive, content, info) for info in archive.infolist()}


def _unpacked(archive: zipfile.ZipFile, content: bytes, info: zipfile.ZipInfo) -> bytes:
    try:
        data = _zstd(content, info) if info.compress_type == _ZSTD else archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, zlib.error, struct.error) as exc:
        raise Unreadable(str(exc)) from exc
    if zlib.crc32(data) != info.CRC:
        raise Unreadable("its checksum is wrong")
    return data


def _zstd(content: bytes, info: zipfile.ZipInfo) -> bytes:
    import pyarrow as pa

    name, extra = struct.unpack_from("<HH", content, info.header_offset + 26)
    start = info.header_offset + _LOCAL_HEADER + name + extra
    packed = pa.BufferReader(content[start : start + info.compress_size])
    unpacked: bytes = pa.CompressedInputStream(packed, "zstd").read()
    return unpacked
