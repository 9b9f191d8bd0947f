"""Ensembles and hedged requests over any async callable, with the metrics that judge them.

They use nothing but the OpenTelemetry API, so they work under any tracer provider and
are research subjects like any other code.
"""

from otel_research.patterns.delays import Adaptive, Delay, Fixed, Percentile
from otel_research.patterns.ensemble import Decision, Ensemble, NoQuorum, best_of_n, majority, weighted
from otel_research.patterns.ensemble_metrics import EnsembleMetrics
from otel_research.patterns.hedging import Hedge
from otel_research.patterns.hedging_metrics import HedgingMetrics
from otel_research.patterns.voting import Vote

__all__ = [
    "Adaptive",
    "Decision",
    "Delay",
    "Ensemble",
    "EnsembleMetrics",
    "Fixed",
    "Hedge",
    "HedgingMetrics",
    "NoQuorum",
    "Percentile",
    "Vote",
    "best_of_n",
    "majority",
    "weighted",
]
