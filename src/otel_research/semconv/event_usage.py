"""Usage that a package writes on an event of the span: read as if the span had it."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

EVENTS = {"gen_ai.usage": "", "metadata": "monocle.metadata."}
"""An event's name -> what its keys are put after. Of several (one per chunk of a stream) the last is the whole (ax)."""
_MARKS = [f'"{name}"' for name in EVENTS]


def told(attributes: pl.Series, events: pl.Series) -> pl.Series:
    """The attributes, with the counts of such events."""
    if events.dtype != pl.String:
        return attributes
    places = events.str.contains_any(_MARKS).fill_null(False).arg_true()
    places = places.filter(events.gather(places).str.contains("oken", literal=True))
    if places.is_empty():
        return attributes
    merged = [_merged(*pair) for pair in zip(attributes.gather(places), events.gather(places), strict=True)]
    return attributes.clone().scatter(places, pl.Series(merged, dtype=pl.String))


def _merged(attributes: str | None, events: str) -> str | None:
    try:
        found: dict[str, Any] = {}
        for event in msgspec.json.decode(events):
            prefix = EVENTS.get(event.get("name"))
            if prefix is not None:
                found |= {prefix + key: value for key, value in (event.get("attributes") or {}).items()}
        return msgspec.json.encode(found | msgspec.json.decode(attributes or "{}")).decode()
    except (msgspec.DecodeError, RecursionError, TypeError, AttributeError):
        return attributes
