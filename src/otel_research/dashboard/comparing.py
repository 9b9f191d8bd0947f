"""The pages that claim something: a comparison, and a study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from otel_research import numbers
from otel_research.errors import ConfigurationError, ResearchError
from otel_research.handle import Experiment
from otel_research.store.library import Library

if TYPE_CHECKING:
    from otel_research.analysis.compare import Comparison

Opened = Callable[[str], Experiment]
MOST = 20
"""Candidates of one page; more are refused."""


def comparison(opened: Opened, baseline: str, candidates: Sequence[str]) -> dict[str, Any]:
    """`otel_research.compare` of sides named "ID" or "ID:condition", and what the page can choose from."""
    found = compared(opened, baseline, candidates)
    return {
        "comparison": found.to_dict(),
        "summary": found.summary(),
        "sides": [_described(opened, text) for text in (baseline, *candidates)],
    }


def compared(opened: Opened, baseline: str, candidates: Sequence[str]) -> Comparison:
    """The comparison itself: the best candidate, and the others beside it."""
    if not baseline or not candidates:
        raise ConfigurationError("a comparison needs a baseline and a candidate, each ID or ID:condition.")
    if len(candidates) > MOST:
        # Leaving some out would change what is corrected for, and which one is best.
        raise ConfigurationError(
            f"a page compares at most {MOST} candidates, these are {len(candidates)}; otr.compare takes any number."
        )
    sides = [_side(opened, text) for text in (baseline, *candidates)]
    return numbers.compare(sides[0], sides[1:] if len(sides) > 2 else sides[1])


def conditions(experiment: Experiment) -> list[str]:
    """The conditions of an experiment, in order."""
    rows = experiment.library.scan(experiment.id).select(pl.col("condition").unique())
    return sorted(rows.collect()["condition"].drop_nulls().to_list())


def _side(opened: Opened, text: str) -> Any:
    experiment_id, colon, condition = text.partition(":")
    experiment = opened(experiment_id)
    return experiment.where({"condition": condition}) if colon else experiment


def _described(opened: Opened, text: str) -> dict[str, Any]:
    experiment_id, colon, condition = text.partition(":")
    found = opened(experiment_id)
    return {"side": text, "id": found.id, "name": found.name, "condition": condition if colon else None}


def members(library: Library, opened: Opened, name: str) -> list[Experiment]:
    """The experiments of a study; raises `ConfigurationError` where there are none."""
    records = [record for record in library.catalogue.list_experiments() if record.study == name]
    if not records:
        raise ConfigurationError(f"no experiment of this store belongs to a study {name[:80]!r}.")
    return [opened(record.id) for record in records]


def study(library: Library, opened: Opened, name: str) -> dict[str, Any]:
    """The experiments of a study, and their pooled effects; where those cannot be had, why."""
    experiments = members(library, opened, name)
    records = [experiment.record for experiment in experiments]
    data: dict[str, Any] = {
        "name": name,
        "experiments": [
            {"id": record.id, "name": record.name, "state": record.state, "started_ns": record.started_ns,
             "conditions": conditions(experiment), "stored": (record.ledger or {}).get("stored")}
            for record, experiment in zip(records, experiments, strict=True)
        ],
    }  # fmt: skip
    try:
        return {**data, "study": numbers.study(experiments).to_dict()}
    except ResearchError as error:
        return {**data, "problem": str(error)}
