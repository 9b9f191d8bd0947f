"""Small experiments as frames of spans: trials of items under conditions, with a model call in each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from otel_research.analysis.subject import Subject
from otel_research.experiments import ExperimentRecord


def experiment(
    name: str,
    arms: Mapping[str, float],
    *,
    n_items: int = 30,
    repetitions: int = 1,
    factors: Mapping[str, Mapping[str, object]] | None = None,
    record_factors: Mapping[str, object] | None = None,
    failing: float = 0.0,
    cost_nano: int = 2_000_000,
    seed: int = 0,
    primary: Sequence[str] = (),
) -> Subject:
    """Trials with log-normal latency; an arm's number multiplies it. Items are shared by the arms."""
    rng = np.random.default_rng(seed)
    item_effect = rng.normal(0, 0.3, n_items)
    rows, at = [], 0
    for condition, factor in arms.items():
        for item in range(n_items):
            for repetition in range(repetitions):
                at += 1
                latency = 200 * factor * float(np.exp(item_effect[item] + rng.normal(0, 0.2)))
                trial = f"{at:016x}"
                common = {
                    "experiment_id": name.encode().hex(), "condition": condition, "trial_id": trial,
                    "item_id": f"q{item}", "repetition": repetition, "trace_id": f"{at:032x}",
                    "factors": json.dumps(factors[condition]) if factors else None, "start_ns": at * 10**9,
                    "status": "error" if rng.random() < failing else "ok",
                }  # fmt: skip
                rows.append({**common, "span_id": trial, "role": "trial", "is_call": False, "duration_ms": latency})
                rows.append(
                    {**common, "span_id": f"{at + 10**6:016x}", "parent_span_id": trial, "role": "call",
                     "is_call": True, "duration_ms": latency * 0.9, "cost_nano_usd": cost_nano,
                     "request_model": "m", "input_tokens": 10, "output_tokens": 20}
                )  # fmt: skip
    record = ExperimentRecord(
        id=name.encode().hex().ljust(8, "0"), name=name, factors=dict(record_factors or {}), primary=tuple(primary)
    )
    return Subject(pl.DataFrame(rows, infer_schema_length=None).lazy(), record=record, label=name)
