"""One record in a segment, and what a segment begins with.

    offset  size
    0       3     magic (its last byte is the format version)
    3       1     kind
    4       4     payload length, little endian
    8       4     crc32 of the payload, seeded with the segment's name and the frame's kind
    12      n     payload

A frame is copied in one piece; one that a crash tears fails its checksum. The seed binds it
to its segment: bytes that look like a frame inside a payload (a journal stored in an
attribute, say) are not one, whatever damage lies before them.
"""

from __future__ import annotations

import re
import struct
from typing import Final
from zlib import crc32

MAGIC: Final = b"\xf7R\x01"
_PREAMBLE: Final = re.compile(rb"otel-research/1 ([\w.-]{1,200})\n")
"""The first line of a segment file: for people, and to find the seed of a file that was renamed."""
FORMAT_VERSION: Final = 1
"""Of segments, told in their first line."""
_ANY_PREAMBLE: Final = re.compile(rb"otel-research/(\d{1,9}) ([\w.-]{1,200})\n")

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
HEADER_AS_NUMBERS: Final = struct.Struct("<III")
"""The same twelve bytes, with magic and kind as one number (`MARKS`): quicker to pack."""
LARGEST: Final = 256 * 1024 * 1024
"""No payload is longer; a length beyond it is damage."""

MARKS: Final = tuple(int.from_bytes((*MAGIC, kind), "little") for kind in range(max(KINDS) + 1))
"""kind -> the first four bytes of its frames, as a number."""

Seeds = tuple[int, ...]
"""By kind: the checksum's seed in one segment."""


def preamble(segment: str) -> bytes:
    """The first bytes of a segment file."""
    return f"otel-research/1 {segment}\n".encode()


def preamble_of(data: bytes | bytearray) -> tuple[int, str | None]:
    """(length of the preamble, the segment's name in it); (0, None) where there is none or it is damaged."""
    found = _PREAMBLE.match(data)
    return (0, None) if found is None else (found.end(), found[1].decode())


def format_of(data: bytes | bytearray) -> tuple[int, str] | None:
    """(format, the segment's name) as its first line tells, of whatever version; None where there is no such line."""
    found = _ANY_PREAMBLE.match(data)
    return None if found is None else (int(found[1]), found[2].decode())


def seeds_of(segment: str) -> Seeds:
    """The seeds of the segment with this name."""
    first = crc32(segment.encode())
    return tuple(first ^ kind * 0x01F3_5A2D for kind in range(max(KINDS) + 1))


def framed(kind: int, payload: bytes, seeds: Seeds) -> bytes:
    """The whole frame for a payload."""
    return HEADER.pack(MAGIC, kind, len(payload), crc32(payload, seeds[kind])) + payload
