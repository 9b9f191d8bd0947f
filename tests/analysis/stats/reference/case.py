"""A reference case: what it gives, what it expects, and how to read both."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

FIXTURES = Path(
    os.environ.get("OTEL_RESEARCH_REFERENCE_CASES", Path(__file__).parents[5] / "shared" / "fixtures" / "statistics")
)
"""The shared cases beside the checkout; the variable names another folder of the same form."""

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One case; `frame` is its data file with the case's filter applied."""

    id: str
    kind: str
    expected: dict[str, Any]
    rel: float
    abs: float
    data: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    data_file: str | None = None

    @property
    def confidence(self) -> float:
        return float(self.params.get("confidence", 0.95))

    @property
    def frame(self) -> pl.DataFrame:
        assert self.data_file is not None
        rows = pl.read_csv(FIXTURES / self.data_file, infer_schema_length=None)
        for name, value in self.columns.get("filter", {}).items():
            rows = rows.filter(pl.col(name).cast(pl.String) == str(value))
        return rows.head(self.columns["head"]) if "head" in self.columns else rows

    def values(self, column: str = "value") -> np.ndarray:
        """The values of one sample."""
        if self.data_file is None:
            return np.asarray(next(v for k, v in self.data.items() if k in ("y", "x", "values")), dtype=float)
        return self.frame[self.columns[column]].to_numpy().astype(float)

    def arms(self, column: str = "value") -> tuple[np.ndarray, np.ndarray]:
        """The two samples compared, in the order of pairs where there are pairs."""
        if self.data_file is None:
            return np.asarray(self.data["a"], dtype=float), np.asarray(self.data["b"], dtype=float)
        frame = self.frame.sort(self.columns["pair"], maintain_order=True) if "pair" in self.columns else self.frame
        group = frame[self.columns["group"]].cast(pl.String)
        one, two = (
            frame.filter(group == str(self.columns[arm]))[self.columns[column]].to_numpy() for arm in ("a", "b")
        )
        return one.astype(float), two.astype(float)

    def labels(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """A label column of the two arms."""
        group = self.frame[self.columns["group"]].cast(pl.String)
        return tuple(
            self.frame.filter(group == str(self.columns[arm]))[self.columns[column]].to_numpy() for arm in ("a", "b")
        )  # type: ignore[return-value]

    def groups(self) -> dict[str, np.ndarray]:
        """All groups by name, in the order of R's factor levels."""
        if self.data_file is None:
            return {str(k): np.asarray(v, dtype=float) for k, v in self.data.get("groups", self.data).items()}
        name = self.columns["group"]
        return {
            str(key[0]): part[self.columns["value"]].to_numpy().astype(float)
            for key, part in self.frame.sort(name, maintain_order=True).group_by(name, maintain_order=True)
        }

    def moments(self) -> list[float]:
        return [self.data[f"{what}_{arm}"] for arm in "ab" for what in ("mean", "sd", "n")]


def cases() -> list[Case]:
    document = json.loads((FIXTURES / "reference_cases.json").read_text())
    names = ("id", "kind", "expected", "data", "columns", "params", "data_file")
    return [
        Case(
            **{name: case[name] for name in names if name in case},
            rel=case["tolerance"]["rel"],
            abs=case["tolerance"]["abs"],
        )
        for case in document["cases"]
    ]


def leaves(expected: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every expected number with the path to it."""
    if isinstance(expected, Mapping):
        for name, value in expected.items():
            yield from leaves(value, (*path, name))
    elif isinstance(expected, list):
        for index, value in enumerate(expected):
            yield from leaves(value, (*path, str(index)))
    else:
        yield path, expected


def at(found: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        found = found[int(step)] if isinstance(found, (list, tuple)) else found[step]
    return found


def ends(interval: Any, prefix: str = "ci") -> Numbers:
    return {} if interval is None else {f"{prefix}_low": interval.low, f"{prefix}_high": interval.high}


def alternative(case: Case) -> Any:
    given = case.params.get("alternative", "two-sided")
    return {"two.sided": "two-sided", "larger": "greater", "smaller": "less"}.get(given, given)
