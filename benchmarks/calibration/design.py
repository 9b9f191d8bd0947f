"""Units that depend on each other, compared as if they had no item ids."""

from __future__ import annotations

import numpy as np
import polars as pl

from calibration.data import arms, decides
from calibration.judged import SIZE, Cell, Rng
from otel_research.analysis.compare import compare
from otel_research.analysis.subject import Subject


def calls_of_trials(rng: Rng) -> bool:
    """20 trials of 10 dependent calls in either arm, no item ids, compared per call: is it called different?"""
    trial = np.repeat(np.arange(40), 10)
    n = trial.size
    latency = np.exp(6.5 + rng.normal(0, 0.5, 40)[trial] + rng.normal(0, 0.3, n))
    frame = pl.DataFrame(
        {
            "condition": np.where(trial % 2, "candidate", "baseline"),
            "trial_id": [f"{at:016x}" for at in trial],
            "duration_ms": latency,
            "start_ns": np.arange(n) * 10**9,
            "role": "call",
            "is_call": True,
        }
    )
    return decides(compare(*arms(Subject(frame.lazy())), metrics="latency", unit="call").verdict)


CELLS: tuple[Cell, ...] = (
    Cell("size", "spans: 10 calls in each of 40 trials, no items", "compare() per call", calls_of_trials, SIZE, 200),
)
