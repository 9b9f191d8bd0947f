"""Small frames of valid spans, one row at a time: what an instrumented run leaves behind."""

from __future__ import annotations

import itertools
import json
from typing import Any

import polars as pl

from otel_research.analysis.subject import Subject
from otel_research.spans import schema

EXPERIMENT = "e" * 32
START = 1_760_000_000_000_000_000
MS = 1_000_000


class Rows:
    """Builds rows of `schema.ALL` in order of time; every method returns the row's span id."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._ids = itertools.count(1)
        self.now = START

    def span(self, duration_ms: float | None = 100.0, **fields: Any) -> str:
        span_id = f"{next(self._ids):016x}"
        start = fields.pop("start_ns", self.now)
        row = dict.fromkeys(schema.names(schema.ALL)) | {
            "experiment_id": EXPERIMENT,
            "trace_id": f"{len(self.rows) + 1:032x}",
            "span_id": span_id,
            "name": "work",
            "kind": "internal",
            "start_ns": start,
            "end_ns": None if duration_ms is None else start + round(duration_ms * MS),
            "duration_ms": duration_ms,
            "status": "unset",
            "sample_weight": 1.0,
            "attributes": "{}",
            "is_call": False,
        }
        self.rows.append(row | fields)
        self.now = max(self.now, start + round((duration_ms or 0) * MS))
        return span_id

    def call(self, duration_ms: float | None = 100.0, usd: float | None = None, **fields: Any) -> str:
        priced = {} if usd is None else {"cost_usd": usd, "cost_nano_usd": round(usd * 1e9), "cost_source": "computed"}
        row = {"name": "chat", "kind": "client", "role": "call", "is_call": True, "operation": "chat"}
        return self.span(duration_ms, **(row | {"request_model": "gpt-x"} | priced | fields))

    def trial(self, duration_ms: float | None = 100.0, calls: int = 1, **fields: Any) -> str:
        """A trial with so many calls in it; fields "call_*" are theirs, the rest the trial's."""
        inner = {key.removeprefix("call_"): value for key, value in fields.items() if key.startswith("call_")}
        own = {key: value for key, value in fields.items() if not key.startswith("call_")}
        span_id = self.span(duration_ms, name="trial", role="trial", **own)
        self.rows[-1]["trial_id"] = span_id
        trial = self.rows[-1]
        shared = {
            key: trial[key] for key in ("condition", "item_id", "repetition", "session_id", "factors", "trace_id")
        }
        for _ in range(calls):
            length = (duration_ms or 0) / calls
            self.call(length, trial_id=span_id, parent_span_id=span_id, start_ns=trial["start_ns"], **shared, **inner)
        return span_id

    def record(self, values: dict[str, Any], **fields: Any) -> str:
        attributes = json.dumps({f"measurement.{key}": value for key, value in values.items()})
        return self.span(None, name="measured", role="record", attributes=attributes, end_ns=self.now, **fields)

    def score(self, name: str, value: float | None, **fields: Any) -> str:
        return self.span(
            None, name="score", role="score", score_name=name, score_value=value, end_ns=self.now, **fields
        )

    def frame(self) -> pl.LazyFrame:
        return pl.LazyFrame(self.rows, schema=schema.polars_schema(schema.ALL))

    def subject(self, **options: Any) -> Subject:
        return Subject(self.frame(), **options)
