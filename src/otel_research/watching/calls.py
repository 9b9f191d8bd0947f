"""Which new rows are calls to a model, and what they cost.

A call's twin or wrapper may end later than the call itself. So a trace is marked anew whenever it
goes on, and what changed is told: calls that count now, and calls that no longer do.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import polars as pl

from otel_research.alerts.seen import Call, Totals
from otel_research.alerts.window import Key
from otel_research.analysis.units import MARKERS, POINTS
from otel_research.pricing import price
from otel_research.semconv import calls
from otel_research.spans.schema import STORED, names

QUIET_SECONDS = 300.0
"""A trace that nothing has come for so long is over: its rows are let go, its sums stay."""
_KEEP = [name for name in names(STORED) if name not in ("attributes", "events", "links", "resource")]
_NOTHING = "attributes", "events", "links", "resource"


class Change(NamedTuple):
    """What new rows made of the calls."""

    added: list[Call]
    """In the order of their ends."""
    removed: list[Key]
    rows: pl.DataFrame
    """The new rows themselves, marked and priced, with their attributes."""


class Calls:
    """The calls of one experiment so far, as `calculate_metrics` counts them (unit "call")."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.last_ns = 0
        """When the last span ended."""
        self._recent: pl.DataFrame | None = None
        self._by_trace: dict[str, dict[Key, Call]] = {}
        self._touched: dict[str, float] = {}
        self._is_marked = False
        """A span with a GenAI, agent or tool marker was seen; until then root spans stand for calls."""

    def add(self, rows: pl.DataFrame) -> Change:
        """Take in new rows."""
        if rows.is_empty():
            return Change([], [], rows)
        self.totals.spans += rows.height
        self.last_ns = max(self.last_ns, rows.select(pl.col("end_ns").max().fill_null(0)).item())
        added, removed = [], self._now_marked(rows)
        whole = self._whole(rows)
        marked = price(calls.mark(whole.lazy())).collect()
        now: dict[str, dict[Key, Call]] = {}
        for call in _calls(marked, by_root=not self._is_marked):
            now.setdefault(call.trace_id, {})[call.key] = call
        for trace in rows["trace_id"].unique().to_list():
            before, after = self._by_trace.get(trace, {}), now.get(trace, {})
            removed += [key for key in before if key not in after]
            added += [call for key, call in after.items() if key not in before]
            for call in before.values():
                self.totals.add(call, -1)
            for call in after.values():
                self.totals.add(call)
            self._by_trace[trace] = after
            self._touched[trace] = time.monotonic()
        self._let_go()
        return Change(sorted(added, key=lambda call: call.end_ns), removed, _with_attributes(rows, marked))

    def _now_marked(self, rows: pl.DataFrame) -> list[Key]:
        """With the first marker root spans stop standing for calls."""
        if self._is_marked or not rows["role"].is_in(MARKERS).any():
            return []
        self._is_marked = True
        removed = [key for trace in self._by_trace.values() for key in trace]
        self.totals = Totals(spans=self.totals.spans)
        self._by_trace.clear()
        return removed

    def _whole(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The new rows with those of the same traces that came before."""
        slim = rows.select(_KEEP)
        self._recent = slim if self._recent is None else pl.concat([self._recent, slim])
        traces = rows["trace_id"].unique()
        return self._recent.filter(pl.col("trace_id").is_in(traces.implode())).with_columns(
            pl.lit(None, dtype=pl.String).alias(name) for name in _NOTHING
        )

    def _let_go(self) -> None:
        limit = time.monotonic() - QUIET_SECONDS
        # Traces are touched in the order of time, so the quiet ones come first.
        quiet = []
        for trace, touched in self._touched.items():
            if touched > limit:
                break
            quiet.append(trace)
        if self._recent is None or len(quiet) < 1000:
            return
        for trace in quiet:
            self._touched.pop(trace)
            self._by_trace.pop(trace, None)
        self._recent = self._recent.filter(~pl.col("trace_id").is_in(quiet))


def _calls(marked: pl.DataFrame, *, by_root: bool) -> list[Call]:
    is_point = pl.col("role").is_in(POINTS).fill_null(value=False) & pl.col("duration_ms").is_null()
    counted = pl.col("parent_span_id").is_null() if by_root else pl.col("is_call").fill_null(value=False)
    is_open = pl.col("status").eq_missing(pl.lit("interrupted"))
    failed = (pl.col("status").eq_missing(pl.lit("error")) | pl.col("error_type").is_not_null()) & ~is_open
    found = marked.filter(counted & pl.col("aside").is_null() & ~is_point).select(
        "trace_id",
        "span_id",
        pl.col("name").fill_null(""),
        pl.coalesce("end_ns", "last_seen_ns", "start_ns", pl.lit(0)),
        pl.when(~is_open).then("duration_ms"),
        failed.alias("is_failed"),
        "cost_usd",
        "cost_nano_usd",
        "input_tokens",
        "output_tokens",
        "condition",
        pl.coalesce("request_model", "response_model").alias("model"),
        pl.coalesce("error_type", "error_kind").alias("error"),
    )
    return [Call(*row) for row in found.iter_rows()]


def _with_attributes(rows: pl.DataFrame, marked: pl.DataFrame) -> pl.DataFrame:
    key = ["trace_id", "span_id", "start_ns"]
    slim = marked.drop(_NOTHING)
    return rows.select(*key, *_NOTHING).join(slim, on=key, how="left", maintain_order="left")
