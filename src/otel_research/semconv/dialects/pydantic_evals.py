"""Pydantic Evals: spans of its evaluators, told by their names; results as JSON on the case."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CHAIN, EVALUATOR, Attributes, Dialect

SCOPE = "pydantic-evals"


def role(attributes: Attributes) -> pl.Expr:
    """An evaluator's span judges; the experiment and its cases are around the system's own work."""
    name, is_own = pl.col("name"), pl.col("scope").str.starts_with(SCOPE)
    judges = name.str.contains(r"^(?:report_)?evaluator: ")
    return pl.when(is_own & judges).then(pl.lit(EVALUATOR)).when(is_own).then(pl.lit(CHAIN))


DIALECT = Dialect(
    name="pydantic_evals",
    versions="pydantic-evals 2.62 (names read from the package; no capture)",
    role=role,
    scopes=(SCOPE,),
    known=(
        "task_name", "dataset_name", "n_cases", "case_name", "inputs", "metadata", "expected_output", "output",
        "task_duration", "metrics", "attributes", "assertions", "assertion_pass_rate", "scores", "labels", "task",
        "evaluator_name", "name",
    ),
)  # fmt: skip
