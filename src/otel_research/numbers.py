"""The analyses as users call them: experiments, ids, selections or frames in, frozen results out.

Resolves what it is given into an `analysis.Subject` and calls the room that does the work;
everything heavy is imported when it is first needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from otel_research.errors import ConfigurationError
from otel_research.handle import Experiment
from otel_research.selection import Selection, one_condition

if TYPE_CHECKING:
    import polars as pl

    from otel_research.analysis.anova_result import Anova
    from otel_research.analysis.compare import Comparison
    from otel_research.analysis.interim import Interim
    from otel_research.analysis.metrics import Metrics
    from otel_research.analysis.options import (
        OfAnova,
        OfCompare,
        OfInterim,
        OfMetrics,
        OfPower,
        OfStudy,
        OfTimeSeries,
    )
    from otel_research.analysis.power import Power
    from otel_research.analysis.quality import Quality
    from otel_research.analysis.study import Study
    from otel_research.analysis.subject import Subject
    from otel_research.pricing import PriceTable, Repricing

    What = Experiment | Selection | str | pl.LazyFrame | pl.DataFrame
    Where = pl.Expr | Mapping[str, Any] | None


def subject_of(what: Any) -> Subject:
    """What an analysis is about, from an experiment, "ID", "ID:condition" (or a name for the id), a selection or a frame."""
    import polars as pl

    from otel_research.analysis.subject import Subject

    if isinstance(what, str):
        what = _named(what)
    if isinstance(what, Experiment):
        return _subject(what, what.spans(), what.name)
    if isinstance(what, Selection):
        return _subject(what.experiment, what.spans(), _label(what))
    if isinstance(what, (pl.LazyFrame, pl.DataFrame)):
        return Subject(what.lazy())
    raise ConfigurationError(
        f"cannot analyse a {type(what).__name__}: pass an experiment, its id or name, 'ID:condition', "
        "exp.where(...), or a Polars frame."
    )


def _named(text: str) -> Experiment | Selection:
    from otel_research.lifecycle import get_experiment
    from otel_research.store.wanted import side

    found, condition = side(text, get_experiment)
    return found if condition is None else one_condition(found, condition)


def _subject(experiment: Experiment, spans: pl.LazyFrame, label: str) -> Subject:
    from otel_research.analysis.subject import Subject

    return Subject(
        spans,
        record=experiment.record,
        label=label,
        # Of one that still runs, or has crashed, nobody has put it into the record yet.
        ledger=experiment.record.ledger or experiment.ledger().to_dict(),
        annotations=tuple(experiment.annotations()),
    )


def _label(selection: Selection) -> str:
    from otel_research.spans.where import told

    return f"{selection.experiment.name} [{'; '.join(told(one) for one in selection.conditions)}]"


def calculate_metrics(
    what: What, *, unit: str | pl.Expr = "call", where: Where = None, **options: Unpack[OfMetrics]
) -> Metrics:
    """Latency, cost, reliability, tokens and custom metrics; see `analysis.metrics.Metrics`.

    Args:
        what: an experiment, its id or name, "ID:condition", a selection or a frame.
        unit: "call", "trial", "session", "span" or a Polars expression to group by.
        where: a Polars expression or a mapping from column to value.

    Raises:
        UnknownExperiment: no experiment has that id or name.
        ConfigurationError: an unknown unit, column or engine, a condition that no row has, or a text that may
            mean several things.
    """
    from otel_research.analysis.metrics import calculate_metrics as calculate

    return calculate(subject_of(what), unit=unit, where=where, **_custom(what, options))


def metrics_by(
    what: What,
    keys: str | Sequence[str],
    *,
    unit: str | pl.Expr = "call",
    where: Where = None,
    **options: Unpack[OfMetrics],
) -> dict[Any, Metrics]:
    """`calculate_metrics` for each value of a column, or of several (then keys are tuples): {key: Metrics}.

    Raises what `calculate_metrics` raises, and `ConfigurationError` where no column is named.
    """
    from otel_research.analysis.metrics import metrics_by as calculate

    return calculate(subject_of(what), keys, unit=unit, where=where, **_custom(what, options))


def _custom(what: Any, options: OfMetrics) -> OfMetrics:
    """The options with the experiment's own calculators, where the caller names none."""
    owner = what.experiment if isinstance(what, Selection) else what
    if "custom" not in options and isinstance(owner, Experiment):
        return {**options, "custom": owner.custom_metrics}
    return options


def compare(baseline: Any, candidate: Any, **options: Unpack[OfCompare]) -> Comparison:
    """A baseline against a candidate (or several): effect, interval, test, verdict.

    `analysis.compare.compare` says what the options mean and default to. Both sides may also be sequences of numbers.

    Raises:
        UnknownExperiment: no experiment has that id or name.
        ConfigurationError: an unknown option, or experiments on one side and numbers on the other.
        NotEnoughData: there is nothing to compare.
    """
    from otel_research.analysis.compare import compare as calculate

    return calculate(_side(baseline), _sides(candidate), **options)


compare_experiments = compare


def interim(baseline: Any, candidate: Any, **options: Unpack[OfInterim]) -> Interim:
    """A look before the declared `sample_size`: it spends alpha, and is recorded in the experiments looked at.

    `analysis.interim.interim` says what the options mean and default to. Raises what `compare` raises; then nothing
    is recorded.
    """
    from otel_research.analysis.interim import interim as calculate

    looked = calculate(_side(baseline), _side(candidate), **options)
    for experiment in {found.id: found for found in map(_experiment_of, (baseline, candidate)) if found}.values():
        experiment._annotate(looked.note())
    return looked


def _experiment_of(what: Any) -> Experiment | None:
    """The experiment behind one side of a comparison; None for frames and numbers."""
    found = _named(what) if isinstance(what, str) else what
    owner = found.experiment if isinstance(found, Selection) else found
    return owner if isinstance(owner, Experiment) else None


def anova(
    data: Any, response: str | None = None, factors: str | Sequence[str] | None = None, **options: Unpack[OfAnova]
) -> Anova:
    """Do the means of several groups differ, and by which factors? More than one, or a block, need the extra `stats`.

    `data` is an experiment, a list of experiments (pooled by their factors), a list of sequences
    of numbers (one-way), a mapping or a frame. See `analysis.anova.anova` for the options and errors.
    """
    from otel_research.analysis.anova import anova as calculate

    # A frame may be a table of observations, not of spans: what it is shows when its columns are looked up.
    is_frame = type(data).__module__.startswith("polars")
    return calculate(data if is_frame else _sides(data), response, factors, **options)


def study(experiments: Any, **options: Unpack[OfStudy]) -> Study:
    """Several experiments as one claim: random effects over them. Needs the extra `stats`.

    Each item holds both conditions (an experiment) or is a pair (baseline, candidate).
    `analysis.study.study` says what the options mean and default to, and what is raised.
    """
    from otel_research.analysis.study import study as calculate

    if isinstance(experiments, Mapping):
        return calculate(experiments, **options)
    return calculate([_sides(item) for item in experiments], **options)


def power(effect: float | None = None, *, pilot: Any = None, **options: Unpack[OfPower]) -> Power:
    """Solve for n, the effect, power or alpha; with a pilot also in trials, dollars and minutes.

    `analysis.power.power` says what the options mean and default to, and what is raised.
    """
    from otel_research.analysis.power import power as calculate

    return calculate(effect, pilot=_sides(pilot), **options)


def _side(what: Any) -> Any:
    return subject_of(what) if _is_subject(what) else what


def _sides(what: Any) -> Any:
    if isinstance(what, (list, tuple)) and any(_is_subject(item) for item in what):
        return type(what)(_side(item) for item in what)
    return _side(what)


def _is_subject(what: Any) -> bool:
    return isinstance(what, (Experiment, Selection, str)) or type(what).__module__.startswith("polars")


def time_series(
    what: What, metric: str = "latency", window: str = "5m", **options: Unpack[OfTimeSeries]
) -> pl.DataFrame:
    """A metric per window of time, one row each; see `analysis.series.time_series` for columns, units and errors."""
    from otel_research.analysis.series import time_series as calculate

    return calculate(subject_of(what), metric, window, **options)


def validate(what: What) -> Quality:
    """How far the data can be trusted: a score of 0 to 100, its components, findings; see `analysis.quality.Quality`.

    Raises `UnknownExperiment` where no experiment has that id or name.
    """
    from otel_research.analysis.quality import validate as calculate

    return calculate(subject_of(what))


def reprice(
    what: What, *, prices: str | Path | PriceTable | None = None, at: int | str | date | None = None
) -> Repricing:
    """What the same calls cost under another dated price table, and whether the ranking of conditions survives.

    Excluded trials and evaluation calls stay out, as in every number.

    Args:
        what: an experiment, its id, "ID:condition", a selection or a frame.
        prices: a price file (see `otel_research.pricing.file`) or a loaded table; default: the bundled table.
        at: price every call as of this instant: nanoseconds since the epoch, a date, a datetime or ISO 8601
            text (UTC); default: each call's own time.

    Raises:
        ConfigurationError: the price file or the date cannot be read.
    """
    from otel_research.analysis.subject import included
    from otel_research.pricing import load
    from otel_research.pricing import reprice as calculate

    table = load(prices) if isinstance(prices, (str, Path)) else prices
    return calculate(included(subject_of(what)), table, _instant(at))


def _instant(at: int | str | date | None) -> int | date | None:
    if not isinstance(at, str):
        return at
    try:
        return datetime.fromisoformat(at)
    except ValueError:
        raise ConfigurationError(
            f"at={at!r} is no date. Write one such as '2026-10-01' or '2026-10-01T12:00'."
        ) from None


def export(
    what: What,
    format: str,
    path: str | Path | None = None,
    *,
    columns: Sequence[str] | None = None,
    transformers: Mapping[str, Any] | None = None,
    compression: str | None = None,
    where: Where = None,
) -> Path:
    """Write the spans as "csv", "jsonl", "parquet" or "otlp"; the path that was written.

    Args:
        what: an experiment, its id, a selection or a frame.
        path: where to; default: the experiment's name in the working directory.
        columns: which columns, in which order.
        transformers: {column: pl.Expr or fn(row: dict)}; expressions stream.
        compression: of the file ("zstd", "gzip", ...), where the format has it.
        where: a Polars expression or a mapping from column to value.

    Raises:
        UnknownExperiment: no experiment has that id or name.
        ConfigurationError: an unknown format, column or compression, or a path that cannot be written; the file that
            was there stays as it is.
    """
    from otel_research.formats.export import default_name
    from otel_research.formats.export import export as write

    subject = subject_of(what)
    target = Path(path) if path is not None else Path(default_name(file_stem(subject.label), format, compression))
    return write(
        subject.spans, format, target, columns=columns, transformers=transformers, compression=compression, where=where
    )


def file_stem(label: str) -> str:
    """A file name from the label of what is exported: an experiment's name, or a part of one with its conditions."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in label).strip("-.") or "spans"
