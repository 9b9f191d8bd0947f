"""The ledger as OpenTelemetry metrics under `otel_research.*`, read when the host's meter provider collects.

Only the API is used: without a meter provider the instruments do nothing, and one that is set
later gets them all the same. Values are of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from otel_research.capture.ledger import Ledger

KEPT = ("stored", "filtered", "sampled_out", "duplicates", "late")
"""What may become of a span that ended, beside being lost."""


def _nobody() -> Ledger | None:
    """No recorder is open."""
    return None


_current: Callable[[], Ledger | None] = _nobody
_instruments: list[Any] = []


def export(current: Callable[[], Ledger | None]) -> None:
    """Offer the ledger that `current` gives (None: no recorder is open) to the global meter provider."""
    global _current
    _current = current
    if _instruments:
        return
    meter = metrics.get_meter("otel_research")
    counter, gauge = meter.create_observable_counter, meter.create_observable_up_down_counter
    _instruments.extend(
        (
            counter("otel_research.spans.started", [_started], "{span}", "Spans of experiments that started"),
            counter("otel_research.spans.ended", [_outcomes], "{span}", "Spans that ended, by what became of them"),
            counter("otel_research.spans.lost", [_lost], "{span}", "Spans that are not stored, by reason"),
            counter("otel_research.spans.outside", [_outside], "{span}", "Spans outside any experiment"),
            counter("otel_research.errors", [_errors], "{error}", "Errors that were swallowed, by where they happened"),
            gauge("otel_research.spans.open", [_open], "{span}", "Spans of experiments that run now"),
        )
    )


def _started(options: CallbackOptions) -> Iterable[Observation]:
    ledger = _current()
    return [] if ledger is None else [Observation(ledger.started)]


def _outcomes(options: CallbackOptions) -> Iterable[Observation]:
    ledger = _current()
    if ledger is None:
        return []
    kept = [Observation(getattr(ledger, name), {"outcome": name}) for name in KEPT]
    return [*kept, Observation(ledger.lost_total, {"outcome": "lost"})]


def _lost(options: CallbackOptions) -> Iterable[Observation]:
    ledger = _current()
    return [] if ledger is None else [Observation(number, {"reason": name}) for name, number in ledger.lost.items()]


def _outside(options: CallbackOptions) -> Iterable[Observation]:
    ledger = _current()
    return [] if ledger is None else [Observation(ledger.outside)]


def _errors(options: CallbackOptions) -> Iterable[Observation]:
    ledger = _current()
    return [] if ledger is None else [Observation(number, {"where": name}) for name, number in ledger.errors.items()]


def _open(options: CallbackOptions) -> Iterable[Observation]:
    ledger = _current()
    return [] if ledger is None else [Observation(ledger.open)]
