"""What the server answered: the ground truth that an experiment's numbers are checked against."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, Literal

import msgspec

Outcome = Literal["answered", "failed", "abandoned"]


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what became of it."""

    path: str
    model: str
    status: int
    outcome: Outcome
    """"abandoned": the caller hung up before the answer was complete."""
    body_hash: str
    attempt: int
    """How often this very request had arrived before."""
    retry: int
    """The client's own retry counter; 0 for the first request of a call."""
    is_stream: bool
    delay_ms: float
    """The latency that was drawn, before `latency_scale`."""
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int


class ModelTotals(msgspec.Struct, frozen=True, kw_only=True):
    """One model's share of the ledger; tokens are those of whole answers only."""

    requests: int
    answered: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int


class ServerLedger:
    """Every exchange, in the order in which they were settled. Safe to read while the server runs."""

    def __init__(self) -> None:
        # Protects both fields: the server's thread writes, any thread reads.
        self._lock = threading.Condition()
        self._exchanges: list[Exchange] = []
        self._in_flight = 0

    def __repr__(self) -> str:
        return f"<ServerLedger {len(self)} settled, {self._in_flight} in flight>"

    def __len__(self) -> int:
        with self._lock:
            return len(self._exchanges)

    def arrived(self) -> None:
        """A request came in; `settled` follows, whatever becomes of it."""
        with self._lock:
            self._in_flight += 1

    def settled(self, exchange: Exchange) -> None:
        """What became of a request that arrived."""
        with self._lock:
            self._in_flight -= 1
            self._exchanges.append(exchange)
            self._lock.notify_all()

    def drain(self, timeout: float = 5.0) -> bool:
        """Wait until no request is in flight; False if some still are after `timeout` seconds."""
        with self._lock:
            return self._lock.wait_for(lambda: self._in_flight == 0, timeout)

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Every settled exchange so far."""
        with self._lock:
            return tuple(self._exchanges)

    @property
    def calls(self) -> int:
        """Calls of clients: requests that are not a client's own retry of an earlier one."""
        return sum(one.retry == 0 for one in self.exchanges)

    @property
    def answered(self) -> int:
        """Requests that got a whole answer."""
        return sum(one.outcome == "answered" for one in self.exchanges)

    @property
    def abandoned(self) -> int:
        """Requests whose caller hung up first."""
        return sum(one.outcome == "abandoned" for one in self.exchanges)

    @property
    def errors(self) -> dict[int, int]:
        """HTTP status -> number of error answers."""
        return dict(sorted(Counter(one.status for one in self.exchanges if one.outcome == "failed").items()))

    @property
    def by_model(self) -> dict[str, ModelTotals]:
        """Totals per requested model, in alphabetical order."""
        exchanges = self.exchanges
        return {name: _totals(exchanges, name) for name in sorted({one.model for one in exchanges})}

    def to_dict(self) -> dict[str, Any]:
        """The ledger's sums as JSON data."""
        return {
            "requests": len(self),
            "calls": self.calls,
            "answered": self.answered,
            "abandoned": self.abandoned,
            "errors": {str(status): count for status, count in self.errors.items()},
            "by_model": {name: msgspec.structs.asdict(totals) for name, totals in self.by_model.items()},
        }


def _totals(exchanges: tuple[Exchange, ...], model: str) -> ModelTotals:
    mine = [one for one in exchanges if one.model == model]
    whole = [one for one in mine if one.outcome == "answered"]
    return ModelTotals(
        requests=len(mine),
        answered=len(whole),
        input_tokens=sum(one.input_tokens for one in whole),
        output_tokens=sum(one.output_tokens for one in whole),
        cached_tokens=sum(one.cached_tokens for one in whole),
        reasoning_tokens=sum(one.reasoning_tokens for one in whole),
    )
