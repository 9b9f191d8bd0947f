"""Sampled experiments estimate what a full capture would have said: shown by drawing many samples of one population."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from opentelemetry.trace import Status, StatusCode

import otel_research as otr

pytestmark = pytest.mark.once  # a simulation

CALLS = 300
SAMPLES = 16
BEGAN = 1_700_000_000_000_000_000


class Call(NamedTuple):
    """One call of the population."""

    latency_ms: float
    tokens: int
    is_failure: bool


def population() -> list[Call]:
    """Slow calls use more tokens and fail more often: a sample that favours them must be corrected."""
    chance = random.Random(7)
    latencies = [chance.lognormvariate(5, 0.6) for _ in range(CALLS)]
    return [Call(ms, int(ms * 3) + chance.randrange(50), chance.random() < min(ms / 1000, 0.9)) for ms in latencies]


POPULATION = population()
TRUTH = {
    "requests": float(CALLS),
    "tokens": float(sum(call.tokens for call in POPULATION)),
    "mean": sum(call.latency_ms for call in POPULATION) / CALLS,
    "p50": sorted(call.latency_ms for call in POPULATION)[CALLS // 2],
    "p90": sorted(call.latency_ms for call in POPULATION)[int(CALLS * 0.9)],
    "failure_rate": sum(call.is_failure for call in POPULATION) / CALLS,
}


def estimates(host: Any, **sampling: Any) -> dict[str, float]:
    """What one sampled capture of the population says."""
    with otr.experiment("sampled", **sampling) as exp:
        for call in POPULATION:
            span = host.tracer.start_span(
                "chat m",
                start_time=BEGAN,
                attributes={
                    "gen_ai.operation.name": "chat",
                    "gen_ai.request.model": "m",
                    "gen_ai.usage.input_tokens": call.tokens,
                },
            )
            if call.is_failure:
                span.set_status(Status(StatusCode.ERROR))
            span.end(BEGAN + int(call.latency_ms * 1e6))
    ledger = exp.ledger()
    assert ledger.stored + ledger.sampled_out == CALLS
    assert 0 < ledger.stored < CALLS
    assert ledger.is_balanced
    found = otr.calculate_metrics(exp)
    numbers = {
        "requests": found.reliability.total_requests,
        "tokens": found.tokens.total_input,
        "mean": found.latency.mean,
        "p50": found.latency.p50,
        "p90": found.latency.p90,
        "failure_rate": found.reliability.failure_rate,
    }
    return {name: float(value) for name, value in numbers.items()}  # type: ignore[arg-type]


def by_latency(span: Any) -> float:
    """Keep the slow ones: one in ten of the quick."""
    return min(0.1 + (span.end_time - span.start_time) / 4e8, 1.0)


@pytest.mark.parametrize(
    "sampling", [{"sampling_rate": 0.3}, {"sampling_strategy": by_latency}], ids=["rate", "keep probability"]
)
def test_totals_means_rates_and_percentiles(host: Any, sampling: dict[str, Any]) -> None:
    """Over many samples the estimates scatter around the population's own numbers: within four standard errors."""
    found = [estimates(host, **sampling) for _ in range(SAMPLES)]
    for name, truth in TRUTH.items():
        values = [sample[name] for sample in found]
        mean = sum(values) / SAMPLES
        error = math.sqrt(sum((value - mean) ** 2 for value in values) / (SAMPLES - 1) / SAMPLES)
        assert abs(mean - truth) < 4 * error + 0.02 * abs(truth) * (name in ("p50", "p90")), (name, mean, truth, error)
        assert error > 0


def test_a_sample_that_is_not_corrected_would_fail_this(host: Any) -> None:
    """The plain mean of what the strategy keeps is far off: the weights do the work."""
    with otr.experiment("sampled", sampling_strategy=by_latency) as exp:
        for call in POPULATION:
            host.tracer.start_span("s", start_time=BEGAN).end(BEGAN + int(call.latency_ms * 1e6))
    plain = exp.spans().collect()["duration_ms"].mean()
    assert isinstance(plain, float)
    assert plain > TRUTH["mean"] * 1.15


def test_yes_or_no_is_flagged_unweighted(host: Any) -> None:
    """A strategy that hides its probability cannot be corrected: the result says so instead of looking whole."""
    keep: Callable[[Any], bool] = lambda span: span.end_time - span.start_time > 2e8  # noqa: E731
    with otr.experiment("hidden", sampling_strategy=keep) as exp:
        for call in POPULATION:
            host.tracer.start_span(
                "chat m", start_time=BEGAN, attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
            ).end(BEGAN + int(call.latency_ms * 1e6))
    assert exp.spans().collect()["sample_weight"].null_count() == exp.ledger().stored
    assert "unweighted" in str(otr.calculate_metrics(exp).to_dict())
