"""What rules look at: a call to a model, a span of any kind, and the totals so far."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One call that counts: no wrapper, no twin, no evaluation."""

    trace_id: str
    span_id: str
    name: str
    end_ns: int
    latency_ms: float | None
    is_failed: bool
    cost_usd: float | None
    """None: no price is known."""
    cost_nano_usd: int | None
    input_tokens: int | None
    output_tokens: int | None
    condition: str | None
    model: str | None
    error_type: str | None

    @property
    def key(self) -> tuple[str, str]:
        """Its identity."""
        return self.trace_id, self.span_id

    @property
    def tokens(self) -> int | None:
        """Input and output together; None where neither is known."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return (self.input_tokens or 0) + (self.output_tokens or 0)


@dataclass
class Totals:
    """Sums over all calls so far; unpriced is not free."""

    spans: int = 0
    calls: int = 0
    failures: int = 0
    cost_nano_usd: int = 0
    unpriced: int = 0
    tokens: int = 0
    counted: int = 0
    """Calls whose tokens are known."""
    dearest_nano_usd: int = 0
    """What the dearest call has cost."""

    @property
    def cost_usd(self) -> float | None:
        """Of the priced calls; None where no call has a price."""
        return self.cost_nano_usd / 1e9 if self.calls > self.unpriced else None

    def add(self, call: Call, sign: int = 1) -> None:
        """Count a call, or with -1 take it back."""
        self.calls += sign
        self.failures += sign * call.is_failed
        self.cost_nano_usd += sign * (call.cost_nano_usd or 0)
        self.dearest_nano_usd = max(self.dearest_nano_usd, call.cost_nano_usd or 0)
        self.unpriced += sign * (call.cost_nano_usd is None)
        self.tokens += sign * (call.tokens or 0)
        self.counted += sign * (call.tokens is not None)


class Span(Mapping[str, Any]):
    """One span for a custom rule: every column of `exp.spans()` as a key or an attribute; `attributes` is a dict."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = {**row, "attributes": _mapping(row.get("attributes"))}

    def __getitem__(self, key: str) -> Any:
        return self._row[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_row"][name]
        except KeyError:
            raise AttributeError(f"a span has no {name!r}; see the columns of exp.spans()") from None


def _mapping(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
