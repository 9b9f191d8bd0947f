"""A source whose first bytes can be looked at, and that is unpacked on the way: a file or a pipe, plain or gzip."""

from __future__ import annotations

import io
import zlib
from typing import IO, Any

HEAD = 4096
"""Bytes that `Peekable.head` shows."""
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 16


class Peekable(io.RawIOBase):
    """Reads a binary stream once, unpacking gzip; needs neither seeking nor a length.

    A compressed stream that breaks off gives everything before the break, and `damage` says so.
    """

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__()
        self.damage: str | None = None
        self._source = source
        self._ready = b""
        self._unpacker: Any = None
        self._is_over = False
        self._fill(HEAD)
        if self._ready.startswith(_GZIP):
            packed, self._ready, self._is_over = self._ready, b"", False
            self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
            self._take(packed)
            self._fill(HEAD)

    def head(self) -> bytes:
        """The first bytes, which will be read again."""
        return self._ready[:HEAD]

    def reader(self) -> io.BufferedReader:
        """The whole content, as a buffered stream."""
        return io.BufferedReader(self, _CHUNK)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what comes next; 0 is the end."""
        self._fill(1)
        part, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def _fill(self, size: int) -> None:
        while len(self._ready) < size and not self._is_over:
            chunk = self._source.read(_CHUNK)
            if chunk:
                self._take(chunk)
            else:
                self._is_over = True
                if self._unpacker is not None and not self._unpacker.eof and self.damage is None:
                    self.damage = "the compressed file breaks off here"

    def _take(self, chunk: bytes) -> None:
        """Add a chunk, unpacked; several gzip members follow each other as one stream."""
        while chunk and self._unpacker is not None:
            if self._unpacker.eof:
                if not chunk.strip(b"\0"):
                    return  # padding behind the last member
                self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                self._ready += self._unpacker.decompress(chunk)
            except zlib.error as exc:
                self.damage = f"the compressed file is damaged from here on: {exc}"
                self._is_over = True
                return
            chunk = self._unpacker.unused_data
        self._ready += chunk
