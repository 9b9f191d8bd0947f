"""Part of an experiment: rows that pass some conditions, usable wherever an experiment is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from otel_research.errors import ConfigurationError

if TYPE_CHECKING:
    import polars as pl

    from otel_research.analysis.options import OfMetrics
    from otel_research.formats.export import OfExport
    from otel_research.handle import Experiment
    from otel_research.spans.where import Where


def one_condition(experiment: Experiment, condition: str) -> Selection:
    """The rows of a condition that was asked for by its name. Raises `ConfigurationError` where no row has it."""
    rows = experiment.spans().select("condition").drop_nulls().unique().collect()
    known = sorted(rows["condition"])
    if condition not in known:
        raise ConfigurationError(
            f"{experiment.name!r} has no condition {condition!r}. Its conditions: {', '.join(known) or 'none'}."
        )
    return experiment.where({"condition": condition})


@dataclass(frozen=True)
class Selection:
    """An experiment and the conditions its rows have to pass, all of them."""

    experiment: Experiment
    conditions: tuple[pl.Expr | Mapping[str, Any], ...]

    def where(self, where: pl.Expr | Mapping[str, Any]) -> Selection:
        """A narrower selection."""
        return Selection(self.experiment, (*self.conditions, where))

    def _repr_html_(self) -> str:
        from otel_research.report import card

        facts = {"rows": f"{len(self.spans().select('span_id').collect()):,}"}
        facts |= {f"where {number}": str(one) for number, one in enumerate(self.conditions, start=1)}
        return card.table(f"part of {self.experiment.name}", facts)

    def spans(self, flatten: bool = False) -> pl.LazyFrame:
        """The rows that pass."""
        from otel_research.spans.where import predicate

        rows = self.experiment.spans(flatten=flatten)
        for one in self.conditions:
            rows = rows.filter(predicate(one, rows))
        return rows

    def trials(self) -> pl.LazyFrame:
        """One row per trial among the rows that pass."""
        from otel_research.analysis.trials import trials
        from otel_research.numbers import subject_of

        return trials(subject_of(self))

    def metrics(self, *, unit: str | pl.Expr = "call", where: Where | None = None, **options: Unpack[OfMetrics]) -> Any:
        """`otel_research.calculate_metrics` of this selection."""
        from otel_research.numbers import calculate_metrics

        return calculate_metrics(self, unit=unit, where=where, **options)

    def export(self, format: str, path: str | Path | None = None, **options: Unpack[OfExport]) -> Path:
        """`otel_research.export` of this selection."""
        from otel_research.numbers import export

        return export(self, format, path, **options)
