"""Reports and plots of what users hold: collects the numbers as plain data and has `report` write them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from otel_research.errors import ConfigurationError, ResearchError

if TYPE_CHECKING:
    import polars as pl

    from otel_research.analysis.metrics import Metrics
    from otel_research.analysis.options import OfMetrics
    from otel_research.analysis.result import Result
    from otel_research.handle import Experiment
    from otel_research.report.canvas import Figure
    from otel_research.spans.where import Where

_PACKAGES = ("opentelemetry-sdk", "openai", "anthropic", "polars", "scipy", "numpy")


class Reported:
    """Mixed into `Experiment`: its numbers, its report, its plots."""

    def metrics(
        self, *, unit: str | pl.Expr = "call", where: Where | None = None, **options: Unpack[OfMetrics]
    ) -> Metrics:
        """`otel_research.calculate_metrics` of this experiment."""
        from otel_research.numbers import calculate_metrics

        return calculate_metrics(self, unit=unit, where=where, **options)  # type: ignore[arg-type]

    def report(self, path: str | Path, *, baseline: str | None = None, unit: str | None = None) -> Path:
        """`otel_research.write_report` of this experiment."""
        return write_report(self, path, baseline=baseline, unit=unit)

    @property
    def plot(self) -> Plots:
        """Its figures: `plot.latency()`, `.percentiles()`, `.effects()`, `.cost()`, `.timeline()`."""
        return Plots(self)


def write_report(what: Any, path: str | Path, *, baseline: str | None = None, unit: str | None = None) -> Path:
    """Write a report into one file, by its ending: ".html" (with figures), ".md" or ".tex"; the path.

    Args:
        what: an experiment or its id, or a result (a comparison, a study, an analysis of variance, ...).
        baseline: the condition that the others are compared with; default: "baseline" or "control" where there
            is one, else the first that was started.
        unit: of analysis; default: trials where there are some, else calls.

    Raises:
        ConfigurationError: the file has another ending or no folder, or there is no such condition.
    """
    from otel_research.analysis.result import Result
    from otel_research.report import document, written

    written.check(path)
    if isinstance(what, Result):
        if baseline is not None or unit is not None:
            raise ConfigurationError("baseline= and unit= are for the report of an experiment; a result has its own.")
        return written.write(_of_result(what), path)
    return written.write(document.of_experiment(report_data(_experiment(what), baseline=baseline, unit=unit)), path)


def _of_result(result: Result) -> Any:
    from otel_research.analysis.comparison import Comparison
    from otel_research.analysis.study import Study
    from otel_research.report import document
    from otel_research.report.values import amount, interval

    if isinstance(result, Comparison):
        return document.of_comparison(result.to_dict(), _software())
    if isinstance(result, Study):
        return document.of_study(result.to_dict(), _software())
    rows = []
    for row in result.shown():
        known = amount(row["value"]) if row["value"] is not None else row["text"]
        ends = {"low": row["low"], "high": row["high"]} if (row["low"], row["high"]) != (None, None) else None
        rows.append([row["field"], known or f"– ({row['reason'] or 'not known'})", interval(ends).strip()])
    return document.of_result(result.to_dict(), result.heading(), rows, _software())


def _experiment(what: Any) -> Experiment:
    from otel_research.handle import Experiment
    from otel_research.lifecycle import get_experiment

    found = get_experiment(what) if isinstance(what, str) else what
    if not isinstance(found, Experiment):
        raise ConfigurationError(
            f"cannot report on a {type(what).__name__}: pass an experiment, its id, or a result such as compare(...) returns."
        )
    return found


def report_data(experiment: Experiment, *, baseline: str | None = None, unit: str | None = None) -> dict[str, Any]:
    """Everything a report of an experiment says, as plain data."""
    from otel_research.analysis import amendments
    from otel_research.analysis.subject import exclusions
    from otel_research.numbers import subject_of, validate
    from otel_research.pricing import default

    plots = Plots(experiment, unit=unit)
    subject = subject_of(experiment)
    chosen, by, comparison, why = plots.comparison(baseline)
    record = experiment.record
    packages = (record.environment or {}).get("packages") or {}
    return {
        "experiment": _described(experiment),
        "ledger": subject.ledger or {},
        "unit": plots.unit,
        "conditions": plots.blocks(),
        "shape": plots.shape(),
        "comparison": comparison,
        "no_comparison": why,
        "baseline": chosen,
        "baseline_by": by,
        "quality": validate(experiment).to_dict(),
        "exclusions": exclusions(subject.annotations),
        "amendments": [amendments.sentence(note) for note in amendments.of(subject.annotations)],
        "prices": default().provenance,
        "packages": {name: packages[name] for name in _PACKAGES if name in packages},
        "software": _software(),
    }


def _described(experiment: Experiment) -> dict[str, Any]:
    import msgspec

    stopped = experiment.stopped_at
    times = {"started_at": experiment.started_at.isoformat(), "stopped_at": stopped.isoformat() if stopped else None}
    plain: dict[str, Any] = msgspec.to_builtins(experiment.record)
    return {**plain, **times}


def _software() -> dict[str, str]:
    from otel_research.environment import installed_version

    return {"written by": ", ".join(f"{name} {installed_version(name)}" for name in ("otel-research", "polars"))}


@dataclass(frozen=True)
class Plots:
    """An experiment's figures, one colour per condition; a notebook shows one, `save("x.svg")` writes it."""

    experiment: Any
    unit_: str | None = None

    def __init__(self, experiment: Any, *, unit: str | None = None) -> None:
        object.__setattr__(self, "experiment", experiment)
        object.__setattr__(self, "unit_", unit)

    @property
    def unit(self) -> str:
        """The unit of analysis: trials where there are some, else calls."""
        from otel_research.analysis.arms import best_unit
        from otel_research.numbers import subject_of

        return self.unit_ or best_unit([subject_of(self.experiment)])

    def latency(self) -> Figure:
        """The empirical distribution of latency."""
        from otel_research.report import figures

        found = self.shape()
        return figures.latency(found["steps"], found["counts"], self.unit, found["n_censored"], found["n_unknown"])

    def percentiles(self) -> Figure:
        """p50, p95 and p99 with their intervals."""
        from otel_research.report import figures

        return figures.percentiles(self.blocks())

    def effects(self, baseline: str | None = None, candidate: str | None = None) -> Figure:
        """The effect on every outcome, as a forest; `candidate` says which, where there are several."""
        from otel_research.report import figures
        from otel_research.report.comparison import labels_of

        _, _, found, why = self.comparison(baseline, candidate)
        if found is None:
            return figures.nothing("Effect on each outcome", why or "there is nothing to compare")
        names = labels_of(found["candidate"], found["baseline"])
        return figures.effects({**found, "candidate": names[0], "baseline": names[1]})

    def cost(self) -> Figure:
        """Cost by model."""
        from otel_research.report import figures

        return figures.cost(self.blocks())

    def timeline(self) -> Figure:
        """Every unit by its start, with its latency."""
        from otel_research.report import figures

        found = self.shape()
        return figures.timeline(found["points"], found["counts"], self.unit)

    def blocks(self) -> dict[str, dict[str, Any]]:
        """Condition -> its metrics as plain data."""
        from otel_research.numbers import metrics_by

        found = metrics_by(self.experiment, "condition", unit=self.unit)
        return {_label(key, len(found)): metrics.to_dict() for key, metrics in found.items()}

    def shape(self) -> dict[str, Any]:
        """The points behind the figures, conditions in the order of `blocks`."""
        from dataclasses import asdict

        from otel_research.analysis.shape import shape
        from otel_research.numbers import subject_of

        found = asdict(shape(subject_of(self.experiment), self.unit))
        for part in ("steps", "points", "counts"):
            found[part] = {_label(key, len(found[part])): value for key, value in found[part].items()}
        return found

    def comparison(
        self, baseline: str | None = None, candidate: str | None = None
    ) -> tuple[str | None, str, dict[str, Any] | None, str | None]:
        """Baseline, how it was chosen, the comparison with the others, and why there is none."""
        from otel_research.analysis.arms import BASELINES
        from otel_research.numbers import compare

        known = self._conditions()
        for name in (baseline, candidate):
            if name is not None and name not in known:
                raise ConfigurationError(
                    f"{self.experiment.name!r} has no condition {name!r}. Its conditions: {', '.join(known) or 'none'}."
                )
        if len(known) < 2:
            return None, "", None, f"the experiment has {len(known)} condition{'s' if len(known) != 1 else ''}"
        named = next((name for name in BASELINES if name in known), None)
        chosen = baseline or named or known[0]
        by = "asked for" if baseline else "by its name" if named else "the first that was started"
        others = [candidate] if candidate else [name for name in known if name != chosen]
        arms = {name: self.experiment.where({"condition": name}) for name in (chosen, *others)}
        sides = [arms[name] for name in others]
        try:
            found = compare(arms[chosen], sides[0] if len(sides) == 1 else sides, unit=self.unit)
        except ResearchError as error:
            return chosen, by, None, str(error).rstrip(".")
        return chosen, by, found.to_dict(), None

    def _conditions(self) -> list[str]:
        """The conditions, the first started first."""
        import polars as pl

        rows = self.experiment.spans().filter(pl.col("condition").is_not_null())
        found = rows.group_by("condition").agg(pl.col("start_ns").min()).sort("start_ns", "condition").collect()
        return [str(name) for name in found["condition"]]


def _label(condition: str | None, of: int) -> str:
    """A condition's name; what ran outside of any is "" where it is everything."""
    return condition if condition is not None else "" if of == 1 else "(no condition)"
