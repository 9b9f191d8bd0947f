"""One experiment as plain data, in sections that are computed one after the other: the quick ones first.

Every number is `calculate_metrics`' own: a section holds `Metrics.to_dict()` and adds nothing to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import msgspec
import polars as pl

from otel_research import numbers
from otel_research.analysis import metrics as analysis
from otel_research.analysis.arms import best_unit
from otel_research.analysis.quality import validate
from otel_research.analysis.subject import Subject, included
from otel_research.dashboard import curves, spans
from otel_research.handle import Experiment
from otel_research.pricing import default, unpriced
from otel_research.spans import schema
from otel_research.watching.events import alert

_HEAVY = frozenset({"attributes", "events", "links"})
_OWN = ("record", "score", "trial")
_AT_ONCE = 50_000
"""Rows that are looked at for columns in which nothing is: half of the columns of a usual run."""


class View:
    """An experiment's rows as of one moment, read once for all sections."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    @cached_property
    def subject(self) -> Subject:
        """The narrow columns in memory: attributes only of the rows that are measurements themselves."""
        own = pl.when(pl.col("role").is_in(_OWN)).then("attributes").alias("attributes")
        wanted = [name for name in schema.names(schema.ALL) if name not in _HEAVY]
        rows = self.experiment.spans().select(*wanted, own)
        parts = [_held(part) for part in rows.collect_batches(chunk_size=_AT_ONCE)]
        nothing = pl.DataFrame(schema={"experiment_id": pl.String})
        # A subject has every column: what is empty throughout is a constant there, which takes no memory.
        return replace(numbers.subject_of(self.experiment), spans=pl.concat([nothing, *parts], how="diagonal").lazy())

    @cached_property
    def unit(self) -> str:
        """ "trial" where the experiment has trials, else "call"."""
        return best_unit([self.subject])

    def section(self, name: str) -> dict[str, Any]:
        """One section's data."""
        return SECTIONS[name](self)


def _held(rows: pl.DataFrame) -> pl.DataFrame:
    """Only the columns in which there is something."""
    return rows.select(column for column in rows if column.null_count() < rows.height)


def head(view: View) -> dict[str, Any]:
    """What was declared, and what was captured and lost: without the rows, because it is what one asks first."""
    record = view.experiment.record
    return {
        "experiment": {**msgspec.to_builtins(record), "environment": None},
        "ledger": view.experiment.ledger().to_dict(),
        "conditions": _conditions(view.experiment.library.scan(record.id)),
        "prices": default().provenance,
    }


def _conditions(rows: pl.LazyFrame) -> list[str | None]:
    """In the order of every table: a condition's colour is its place."""
    found = rows.select(pl.col("condition").unique()).collect()["condition"].to_list()
    return sorted(found, key=lambda name: (name is None, str(name)))


def numbers_of(view: View, *, ci: bool) -> dict[str, Any]:
    """The metrics of the whole and of each condition, in the unit of analysis."""
    options: dict[str, Any] = {"unit": view.unit, "custom": view.experiment.custom_metrics, "ci": ci}
    by = analysis.metrics_by(view.subject, "condition", **options)
    return {
        "has_intervals": ci,
        "unit": view.unit,
        "sample_size": view.experiment.record.sample_size,
        "conditions": [{"condition": name, "metrics": found.to_dict()} for name, found in by.items()],
        "all": analysis.calculate_metrics(view.subject, **options).to_dict(),
    }


def over_time(view: View) -> dict[str, Any]:
    """Latency along the run, and its distribution by condition."""
    return curves.curves(view.subject, view.unit)


def models(view: View) -> dict[str, Any]:
    """Cost and tokens by the model that was asked for, and which calls have no price and why."""
    calls = analysis.metrics_by(view.subject, "request_model", unit="call", ci=False)
    return {
        "models": [{"model": name, "metrics": found.to_dict()} for name, found in calls.items() if found.n],
        # Of the same rows as the numbers above: without excluded trials and evaluation calls.
        "unpriced": unpriced(included(view.subject).filter(pl.col("aside").is_null())).to_dicts(),
        "prices": default().provenance,
    }


def tail(view: View) -> dict[str, Any]:
    """The spans that ended last."""
    return {"spans": spans.latest(view.subject.spans), "total": _height(view.subject.spans)}


def quality(view: View) -> dict[str, Any]:
    """What is wrong or odd about the data."""
    # It also names attribute keys that nobody reads, which the narrow rows do not have.
    return validate(view.subject, attributes=view.experiment.library.scan(view.experiment.id)).to_dict()


def environment(view: View) -> dict[str, Any]:
    """Where and with what it ran."""
    return dict(view.experiment.record.environment)


def notes(view: View) -> dict[str, Any]:
    """Alerts and other annotations, in their order."""
    found = view.experiment.annotations()
    return {
        "alerts": [alert(note) for note in found if note.get("kind") == "alert"],
        "others": [note for note in found if note.get("kind") not in ("alert", "score")],
    }


def _height(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect().item())


SECTIONS: dict[str, Callable[[View], dict[str, Any]]] = {
    "head": head,
    "tail": tail,
    "metrics": lambda view: numbers_of(view, ci=False),
    "curves": over_time,
    "models": models,
    "notes": notes,
    "environment": environment,
    "intervals": lambda view: numbers_of(view, ci=True),
    "quality": quality,
}
"""In the order in which a page is filled."""
