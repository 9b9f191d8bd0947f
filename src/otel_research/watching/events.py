"""What a subscriber is told, as plain JSON data. The schema is in docs/live.md."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import polars as pl

Name = Literal["span", "metrics_update", "full_metrics", "alert", "look", "state"]
NAMES: tuple[Name, ...] = ("span", "metrics_update", "full_metrics", "alert", "look", "state")

LINE = (
    "trace_id", "span_id", "parent_span_id", "name", "condition", "trial_id", "item_id", "role", "is_call", "status",
    "error_type", "start_ns", "end_ns", "duration_ms", "request_model", "input_tokens", "output_tokens", "cost_usd",
)  # fmt: skip
NAME_LENGTH = 300


def event(name: Name, experiment_id: str, data: dict[str, Any]) -> dict[str, Any]:
    """An event in its envelope."""
    return {"event": name, "experiment_id": experiment_id, "time_ns": time.time_ns(), "data": data}


def alert(note: Mapping[str, Any]) -> dict[str, Any]:
    """The alert that an annotation of kind "alert" records."""
    rest = {name: value for name, value in note.items() if name not in ("kind", "author", "at_ns")}
    return {**rest, "time_ns": note.get("at_ns") or note.get("time_ns")}


def lines(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as `span` events say them: no attributes, no content."""
    return [_line(row) for row in rows.select(LINE).to_dicts()]


def _line(row: dict[str, Any]) -> dict[str, Any]:
    name = row["name"]
    return {**row, "name": None if name is None else name[:NAME_LENGTH]}
