"""What the demonstration models are like: how fast, how right, how wordy, how often they fail.

The names are real ones, so that costs are computed from real price tables; the behaviour
behind them is invented and says nothing about the real models.
"""

from __future__ import annotations

import msgspec

from otel_research.errors import ConfigurationError


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One model: distributions from which every answer of the server is drawn."""

    name: str
    served: str
    """The dated name that the answer carries, as real providers do."""
    accuracy: float
    """Probability of a right answer on a question of average difficulty."""
    median_ms: float
    """Median time to a whole answer."""
    sigma: float = 0.3
    """Spread of the body of the latency distribution (standard deviation of its logarithm)."""
    tail: float = 0.04
    """Probability that an answer is from the heavy tail."""
    tail_factor: float = 2.0
    """What multiplies the latency there: this, times a Pareto variable of shape 1.5, at most 10 times this."""
    words: int = 12
    """Mean number of words in front of the answer."""
    reasoning: int = 0
    """Mean number of hidden reasoning tokens; 0: the model does not reason."""
    cache_rate: float = 0.5
    """Probability that most of a prompt comes from the provider's cache."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How often the server misbehaves. Rates are per request, independent of the model."""

    rate_limit: float = 0.02
    """HTTP 429."""
    server_error: float = 0.01
    """HTTP 500."""
    slow: float = 0.02
    """An answer that takes `slow_factor` times as long."""
    slow_factor: float = 8.0
    persistence: float = 0.35
    """Probability that a request fails again if its last attempt failed: outages come in bursts."""
    retry_after_ms: int = 100
    """What a failed answer asks the client to wait before its next attempt."""

    def __post_init__(self) -> None:
        for name in ("rate_limit", "server_error", "slow", "persistence"):
            rate = getattr(self, name)
            if not 0 <= rate <= 1:
                raise ConfigurationError(f"Faults.{name} is a probability, got {rate!r}. Use a number from 0 to 1.")
        if self.rate_limit + self.server_error > 1:
            raise ConfigurationError(
                f"Faults.rate_limit + Faults.server_error is {self.rate_limit + self.server_error}, "
                "but together they can be at most 1."
            )


NO_FAULTS = Faults(rate_limit=0, server_error=0, slow=0, persistence=0)
"""A server that always answers, in its usual time."""

PROFILES: tuple[ModelProfile, ...] = (
    ModelProfile(name="gpt-4o", served="gpt-4o-2024-08-06", accuracy=0.90, median_ms=260, tail=0.05, words=22),
    ModelProfile(name="gpt-4o-mini", served="gpt-4o-mini-2024-07-18", accuracy=0.82, median_ms=150, words=16),
    ModelProfile(name="gpt-4.1-mini", served="gpt-4.1-mini-2025-04-14", accuracy=0.85, median_ms=170, words=18),
    ModelProfile(name="gpt-4.1-nano", served="gpt-4.1-nano-2025-04-14", accuracy=0.74, median_ms=90, words=10),
    ModelProfile(
        name="o4-mini", served="o4-mini-2025-04-16", accuracy=0.96, median_ms=520, sigma=0.5, tail=0.06, reasoning=180
    ),
    ModelProfile(name="claude-haiku-4-5", served="claude-haiku-4-5-20251001", accuracy=0.86, median_ms=160),
    ModelProfile(
        name="claude-sonnet-4-5", served="claude-sonnet-4-5-20250929", accuracy=0.93, median_ms=300, reasoning=60
    ),
    ModelProfile(
        name="text-embedding-3-small", served="text-embedding-3-small", accuracy=1.0, median_ms=40, cache_rate=0
    ),
)
