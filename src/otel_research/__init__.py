"""otel-research: OpenTelemetry spans as scientific evidence.

    import otel_research as otr

    with otr.experiment("prompt-v2") as exp:
        with exp.arm("baseline"), exp.trial(item="q1"):
            ...                                  # any instrumented code
    print(otr.calculate_metrics(exp).latency.p95)

Analyses, formats and reports are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_research import alerts, errors, patterns
    from otel_research.block import experiment
    from otel_research.capture.exporter import ExperimentExporter
    from otel_research.capture.forward import SampledOnly
    from otel_research.capture.ids import ExperimentIdGenerator
    from otel_research.capture.labelled import LabelledExporter
    from otel_research.capture.ledger import Ledger
    from otel_research.capture.logs import ExperimentLogProcessor
    from otel_research.capture.processor import ExperimentSpanProcessor
    from otel_research.capture.sampler import ExperimentSampler
    from otel_research.errors import (
        BudgetExceeded,
        ConfigurationError,
        ExperimentError,
        ExperimentRunning,
        ExperimentStopped,
        MissingExtra,
        NotEnoughData,
        ResearchError,
        StoreClosed,
        StoreError,
        StoreFull,
        UnknownExperiment,
    )
    from otel_research.handle import Experiment
    from otel_research.imports.door import import_spans
    from otel_research.lifecycle import (
        current_experiment,
        get_experiment,
        list_experiments,
        start_experiment,
        stop_experiment,
    )
    from otel_research.measure import record, score
    from otel_research.numbers import (
        anova,
        calculate_metrics,
        compare,
        compare_experiments,
        export,
        interim,
        metrics_by,
        power,
        reprice,
        study,
        time_series,
        validate,
    )
    from otel_research.processes.children import carry, child_env
    from otel_research.processes.joining import join_experiment
    from otel_research.recorder import Flushed, Recorder, configure
    from otel_research.reported import write_report
    from otel_research.runner.designs import Condition, Design, fractional_factorial, full_factorial
    from otel_research.runner.trials import Trials
    from otel_research.selection import Selection
    from otel_research.store.base import Catalogue, Store
    from otel_research.trial import Trial


__version__ = "0.1.0"

__all__ = [
    "BudgetExceeded",
    "Catalogue",
    "Condition",
    "ConfigurationError",
    "Design",
    "Experiment",
    "ExperimentError",
    "ExperimentExporter",
    "ExperimentIdGenerator",
    "ExperimentLogProcessor",
    "ExperimentRunning",
    "ExperimentSampler",
    "ExperimentSpanProcessor",
    "ExperimentStopped",
    "Flushed",
    "LabelledExporter",
    "Ledger",
    "MissingExtra",
    "NotEnoughData",
    "Recorder",
    "ResearchError",
    "SampledOnly",
    "Selection",
    "Store",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "Trial",
    "Trials",
    "UnknownExperiment",
    "__version__",
    "alerts",
    "anova",
    "calculate_metrics",
    "carry",
    "child_env",
    "compare",
    "compare_experiments",
    "configure",
    "current_experiment",
    "errors",
    "experiment",
    "export",
    "fractional_factorial",
    "full_factorial",
    "get_experiment",
    "import_spans",
    "interim",
    "join_experiment",
    "list_experiments",
    "metrics_by",
    "patterns",
    "power",
    "record",
    "reprice",
    "score",
    "start_experiment",
    "stop_experiment",
    "study",
    "time_series",
    "validate",
    "write_report",
]

_HOMES = {
    "alerts": ("alerts",),
    "errors": (
        "errors",
        "BudgetExceeded",
        "ConfigurationError",
        "ExperimentError",
        "ExperimentRunning",
        "ExperimentStopped",
        "MissingExtra",
        "NotEnoughData",
        "ResearchError",
        "StoreClosed",
        "StoreError",
        "StoreFull",
        "UnknownExperiment",
    ),
    "patterns": ("patterns",),
    "block": ("experiment",),
    "capture.exporter": ("ExperimentExporter",),
    "capture.forward": ("SampledOnly",),
    "capture.ids": ("ExperimentIdGenerator",),
    "capture.labelled": ("LabelledExporter",),
    "capture.ledger": ("Ledger",),
    "capture.logs": ("ExperimentLogProcessor",),
    "capture.processor": ("ExperimentSpanProcessor",),
    "capture.sampler": ("ExperimentSampler",),
    "handle": ("Experiment",),
    "imports.door": ("import_spans",),
    "lifecycle": ("current_experiment", "get_experiment", "list_experiments", "start_experiment", "stop_experiment"),
    "measure": ("record", "score"),
    "numbers": (
        "anova",
        "calculate_metrics",
        "compare",
        "compare_experiments",
        "export",
        "interim",
        "metrics_by",
        "power",
        "reprice",
        "study",
        "time_series",
        "validate",
    ),
    "processes.children": ("carry", "child_env"),
    "processes.joining": ("join_experiment",),
    "recorder": ("Flushed", "Recorder", "configure"),
    "reported": ("write_report",),
    "runner.designs": ("Condition", "Design", "fractional_factorial", "full_factorial"),
    "runner.trials": ("Trials",),
    "selection": ("Selection",),
    "store.base": ("Catalogue", "Store"),
    "trial": ("Trial",),
}
"""Module -> what it gives to this one, when that is first asked for: a program pays for what it uses.

Every run of pytest imports this package for its plugin, also where nothing is recorded.
"""
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    value = module if name == _HOME[name] else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
