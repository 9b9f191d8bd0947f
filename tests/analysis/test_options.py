"""The options that the public analyses say they take are those that the analyses take."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from otel_research.analysis import options
from otel_research.analysis.anova import anova
from otel_research.analysis.compare import compare
from otel_research.analysis.interim import interim
from otel_research.analysis.metrics import calculate_metrics, metrics_by
from otel_research.analysis.power import power
from otel_research.analysis.series import time_series
from otel_research.analysis.study import study
from otel_research.formats.export import OfExport, export


@pytest.mark.parametrize(
    ("said", "takes", "named"),
    [
        (options.OfMetrics, calculate_metrics, {"unit", "where"}),
        (options.OfMetrics, metrics_by, {"unit", "where"}),
        (options.OfCompare, compare, set()),
        (options.OfInterim, interim, set()),
        (options.OfAnova, anova, set()),
        (options.OfStudy, study, set()),
        (options.OfPower, power, {"pilot"}),
        (options.OfTimeSeries, time_series, set()),
        (OfExport, export, set()),
    ],
)
def test_the_options_are_those_of_the_analysis(said: Any, takes: Any, named: set[str]) -> None:
    """Same names, same types; what the public function names itself is not among them."""
    parameters = inspect.signature(takes).parameters.values()
    taken = {one.name: one.annotation for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in named}
    assert {name: hint.__forward_arg__ for name, hint in said.__annotations__.items()} == taken
