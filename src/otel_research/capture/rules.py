"""Which ended spans an experiment keeps, and with which weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from otel_research.errors import ConfigurationError

_MASK = (1 << 64) - 1
_SPACE = float(1 << 53)
_SECOND = 0x9E3779B97F4A7C15
"""Gives a trace its second place: what a rate has kept must still be spread evenly for a strategy."""

FILTERED = "filtered"
SAMPLED_OUT = "sampled_out"


class Decision(NamedTuple):
    """What the rules say of one span."""

    left_out: str | None
    """"filtered" or "sampled_out"; None for a span that is kept."""
    weight: float | None
    """1 / keep probability; None where a yes/no strategy hides it."""


KEEP = Decision(None, 1.0)


class Rules:
    """Event filter and sampling of one experiment.

    A rule that raises keeps the span and is reported to `on_error`. The experiment's own rows
    (trials, records, scores) pass the filter and the strategy: without them there is no unit to
    count. A rate keeps whole traces, ours included.
    """

    def __init__(
        self,
        *,
        event_filter: Callable[[Any], bool] | None,
        sampling_rate: float | None,
        sampling_strategy: Callable[[Any], float | bool] | None,
        on_error: Callable[[str, Exception], None],
    ) -> None:
        self._filter = event_filter
        self._strategy = sampling_strategy
        self._rate = _checked_rate(sampling_rate)
        self._on_error = on_error
        self.is_empty = event_filter is None and sampling_rate is None and sampling_strategy is None

    @property
    def weight(self) -> float:
        """The weight that the rate alone gives to a span that is kept."""
        return 1.0 if self._rate is None else 1.0 / self._rate

    def keeps_trace(self, trace_id: int) -> bool:
        """The sampling rate's decision, which is known when a span starts."""
        return self._rate is None or position(trace_id) < self._rate

    def decide(self, span: Any, *, is_own: bool) -> Decision:
        """The decision on an ended span (`ReadableSpan`)."""
        trace_id = span.context.trace_id
        if not self.keeps_trace(trace_id):
            return Decision(SAMPLED_OUT, None)
        weight = self.weight
        if is_own:
            return Decision(None, weight)
        if self._filter is not None and not self._passes(span):
            return Decision(FILTERED, None)
        return Decision(None, weight) if self._strategy is None else self._sampled(span, trace_id, weight)

    def _passes(self, span: Any) -> bool:
        try:
            return bool(self._filter(span))  # type: ignore[misc]
        except Exception as error:
            self._on_error("event_filter", error)
            return True

    def _sampled(self, span: Any, trace_id: int, weight: float) -> Decision:
        try:
            answer = self._strategy(span)  # type: ignore[misc]
            probability = float(answer)
        except Exception as error:
            self._on_error("sampling_strategy", error)
            return Decision(None, weight)
        if isinstance(answer, bool):
            return Decision(None, None) if answer else Decision(SAMPLED_OUT, None)
        if not 0.0 <= probability <= 1.0:
            self._on_error("sampling_strategy", ValueError(f"keep probability {probability!r} is not within 0 to 1"))
            return Decision(None, weight)
        if position(trace_id ^ _SECOND) < probability:
            return Decision(None, weight / probability)
        return Decision(SAMPLED_OUT, None)


def position(trace_id: int) -> float:
    """Where a trace stands in [0, 1): a mix of all 128 bits, so that ids need not be random.

    The finaliser of splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
    """
    mixed = (trace_id ^ trace_id >> 64) & _MASK
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    return ((mixed ^ mixed >> 31) >> 11) / _SPACE


def _checked_rate(rate: float | None) -> float | None:
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1:
        raise ConfigurationError(f"sampling_rate is a number above 0 and at most 1, got {rate!r}.")
    return float(rate)
