"""CSV: one row per span, flat, safe to open in a spreadsheet.

Text that a spreadsheet would run as a formula gets a leading apostrophe; numbers stay
numbers. A missing value is an empty cell, empty text is `""`. Lists and mappings are JSON.
"""

from __future__ import annotations

import base64
import math
import re
from typing import IO, Any

import polars as pl

from otel_research.errors import StoreError
from otel_research.formats import flat, rows
from otel_research.formats.output import compressed
from otel_research.formats.table import Table

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters that make a spreadsheet evaluate text (the last four are the full-width forms)."""
_ATTEMPTS = 5


def write(table: Table, file: IO[bytes], compression: str | None) -> None:
    """Write the table; with `all_attributes`, one column per attribute key follows, sorted by key."""
    keys = set(flat.attribute_keys(table.frame)) if table.all_attributes else set()
    for _ in range(_ATTEMPTS):
        file.seek(0)
        file.truncate()
        unknown: set[str] = set()
        with compressed(file, compression) as stream:
            _write(table, _named(table, keys), stream, unknown)
        if not (unknown and table.all_attributes):
            return
        # The experiment is running and brought new keys since the first pass: nothing may be left out.
        keys |= unknown
    raise StoreError(
        "the experiment keeps receiving spans with new attribute keys, so the columns of the CSV cannot be settled. "
        "Stop it first, or name the columns."
    )


def _named(table: Table, keys: set[str]) -> dict[str, str]:
    """Attribute key -> column name: the key itself, or with a prefix where a leading column has that name."""
    taken = set(table.columns) | keys
    names = {}
    for key in sorted(keys):
        name = key
        while name in table.columns or (name != key and name in taken):
            name = flat.PREFIX + name
        names[key] = name
    return names


def _write(table: Table, extra: dict[str, str], file: IO[bytes], unknown: set[str]) -> None:
    names = (*table.columns, *extra.values())
    file.write((",".join(_quoted(safe(name)) for name in names) + "\n").encode())
    for piece in rows.read(table, extra, unknown):
        columns = piece.lists(names)
        cells = [
            pl.Series(name, [cell(value) for value in values], dtype=pl.String) for name, values in columns.items()
        ]
        pl.DataFrame(cells).write_csv(file, include_header=False)


def _quoted(name: str) -> str:
    """A header's cell. (Python's own csv writer leaves a lone carriage return unquoted.)"""
    return '"' + name.replace('"', '""') + '"' if re.search(r'[",\r\n]|^$', name) else name


def cell(value: Any) -> str | None:
    """One value as a cell."""
    if value is None:
        return None
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    untagged = flat.plain(value)
    if isinstance(untagged, float):
        return "NaN" if math.isnan(untagged) else repr(untagged)
    if isinstance(untagged, int):
        return repr(untagged)
    if isinstance(untagged, bytes):
        return safe(base64.b64encode(untagged).decode())
    if isinstance(untagged, str):
        return safe(untagged.encode("utf-8", "backslashreplace").decode())
    return safe(flat.json_text(value))


def safe(text: str) -> str:
    """The text, made harmless where a spreadsheet would take it for a formula."""
    return "'" + text if text.startswith(FORMULA) else text
