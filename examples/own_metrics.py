"""Measurements, scores and a metric of your own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

import otel_research as otr


class LongestPause:
    """A calculator: a name, and a function from spans to numbers."""

    name = "longest_pause"

    def calculate(self, spans: pl.LazyFrame) -> Mapping[str, Any]:
        starts = spans.select(pl.col("start_ns").sort()).collect()["start_ns"]
        longest = starts.diff().max()
        return {"seconds": None if longest is None else longest / 1e9}


with otr.experiment("retrieval", custom_metrics=[LongestPause()]) as exp:
    for number in range(10):
        with exp.trial(item=f"document {number}") as trial:
            # Measurements become attributes `measurement.<key>`; metadata keep their own keys.
            otr.record("my_app.recall.measured", {"recall": 0.9 + number / 100}, {"index": "hnsw"})
            trial.score("relevance", number % 2)

metrics = otr.calculate_metrics(exp, unit="trial")
for name, values in metrics.custom.items():
    print(name, values)
assert metrics.custom["recall"]["count"] == 10
assert metrics.custom["relevance"]["mean"] == 0.5
assert metrics.custom["longest_pause"]["seconds"] >= 0
