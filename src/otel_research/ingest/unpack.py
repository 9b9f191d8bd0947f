"""Bodies out of their compression, never larger than the limit, whatever they claim."""

from __future__ import annotations

import zlib

from otel_research.ingest.refusal import Refused

_EITHER = 47
"""zlib's window bits for gzip or zlib, told by the header."""


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body itself. Raises `Refused`: 400 for damage, 413 beyond `limit` bytes, 415 for another compression."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Refused(415, f"Content-Encoding {encoding[:40]!r} is not understood; send gzip, deflate or identity.")
    found = bytearray()
    rest = body
    try:
        while rest:
            # A gzip file may have several members.
            one = zlib.decompressobj(_EITHER)
            found += one.decompress(rest, limit + 1 - len(found))
            if len(found) > limit:
                raise too_large(limit)
            if not one.eof:
                raise Refused(400, "the compressed body is cut off.")
            rest = one.unused_data
    except zlib.error as error:
        raise Refused(400, f"the body is not valid {encoding}: {error}.") from None
    return bytes(found)


def too_large(limit: int) -> Refused:
    """A body beyond the limit: sending it again would not help."""
    return Refused(413, f"the body is larger than {limit:,} bytes; send smaller batches, or raise --max-body.")
