"""What a package writes on the events of a span: read as if the span had it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl

Event = dict[str, Any]
_USAGE = "gen_ai.usage"
"""An event of counts; of several (one per chunk of a stream) the last is the whole (ax)."""


def told(attributes: pl.Series, events: pl.Series) -> pl.Series:
    """The attributes, with the counts of such events."""
    if events.dtype != pl.String:
        return attributes
    places = events.str.contains(f'"{_USAGE}"', literal=True).fill_null(False).arg_true()
    return attributes if places.is_empty() else merged(attributes, events, places, _counts)


def _counts(event: Event) -> Event:
    return event.get("attributes") or {} if event.get("name") == _USAGE else {}


def merged(attributes: pl.Series, events: pl.Series, places: pl.Series, read: Callable[[Event], Event]) -> pl.Series:
    """The attributes; those of the rows at these places with what `read` finds in each of their events, which is no attribute."""
    pairs = zip(attributes.gather(places), events.gather(places), strict=True)
    return attributes.clone().scatter(places, pl.Series([_merged(*pair, read) for pair in pairs], dtype=pl.String))


def _merged(attributes: str | None, events: str | None, read: Callable[[Event], Event]) -> str | None:
    try:
        found: Event = {}
        for event in msgspec.json.decode(events or "[]"):
            found |= read(event)
        return msgspec.json.encode(found | msgspec.json.decode(attributes or "{}")).decode() if found else attributes
    except (msgspec.DecodeError, RecursionError, TypeError, AttributeError):
        return attributes
