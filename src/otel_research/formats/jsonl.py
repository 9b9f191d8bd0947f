"""JSON Lines: one object per span; attributes, events and links as objects, as they were emitted.

Values that JSON cannot hold are tagged, for example {"$float": "NaN"} (see `spans.values`).
"""

from __future__ import annotations

from typing import IO, Any

import msgspec

from otel_research.formats import flat, rows
from otel_research.formats.output import compressed
from otel_research.formats.table import Table
from otel_research.spans import values

OBJECTS = {"attributes": msgspec.Raw(b"{}"), "events": msgspec.Raw(b"[]"), "links": msgspec.Raw(b"[]")}
"""JSON text in a frame, objects in the file; a span without any has an empty one."""
NESTED = ("factors", "resource")
_encoder = msgspec.json.Encoder()
_valid = msgspec.json.Decoder(msgspec.Raw).decode


def write(table: Table, file: IO[bytes], compression: str | None) -> None:
    """Write the table, one line per row."""
    with compressed(file, compression) as stream:
        for piece in rows.read(table, {}):
            columns = piece.lists(table.columns)
            made = [_converted(name, found, name in table.functions) for name, found in columns.items()]
            lines = [dict(zip(columns, row, strict=True)) for row in zip(*made, strict=True)]
            stream.write(_encoder.encode_lines(lines))


def _converted(name: str, found: list[Any], is_computed: bool) -> list[Any]:
    if is_computed:
        return [msgspec.Raw(flat.json_text(values.tagged(value, top=False)).encode()) for value in found]
    if name in OBJECTS or name in NESTED:
        return [OBJECTS.get(name) if text is None else _raw(text) for text in found]
    return found


def _raw(text: str) -> Any:
    """The JSON text as it is, in one line; what is not JSON goes under "$malformed"."""
    try:
        raw = _valid(text)
    except msgspec.MsgspecError:
        return flat.parsed(text)
    return flat.parsed(text) if "\n" in text else raw
