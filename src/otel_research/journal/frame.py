"""One record in a segment.

    offset  size
    0       3     magic (its last byte is the format version)
    3       1     kind
    4       4     payload length, little endian
    8       4     crc32 of the payload, seeded with the frame's offset and kind
    12      n     payload

A frame is copied in one piece; one that a crash tears fails its checksum. The seed binds it
to where it stands: bytes that look like a frame inside a payload are not one, whatever
damage lies before them.
"""

from __future__ import annotations

import struct
from typing import Final
from zlib import crc32

MAGIC: Final = b"\xf7R\x01"
PREAMBLE: Final = b"otel-research/1\n"
"""The first bytes of a segment file: for people; the reader does not depend on them."""

META: Final = 1
"""Who wrote the segment (`journal.writer.Writer`)."""
DEFINITION: Final = 2
START: Final = 3
END: Final = 4
LEFT_OUT: Final = 5
"""A span that ended and was not kept: reason code, trace id, span id."""
OTLP: Final = 6
KINDS: Final = frozenset({META, DEFINITION, START, END, LEFT_OUT, OTLP})

HEADER: Final = struct.Struct("<3sBII")
HEADER_SIZE: Final = HEADER.size
LARGEST: Final = 256 * 1024 * 1024
"""No payload is longer; a length beyond it is damage."""

SEEDS: Final = tuple(kind * 0x01F3_5A2D for kind in range(max(KINDS) + 1))
"""By kind: what the checksum's seed adds to the frame's offset."""


def framed(kind: int, payload: bytes, at: int) -> bytes:
    """The whole frame for a payload, to stand at offset `at`."""
    return HEADER.pack(MAGIC, kind, len(payload), crc32(payload, at + SEEDS[kind])) + payload


def checksum(kind: int, payload: bytes, at: int) -> int:
    """The frame's crc32, bound to its kind and to where it stands."""
    return crc32(payload, at + SEEDS[kind])
