"""One alert: what every sink, every subscriber and the experiment's own record get."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Severity = Literal["info", "warning", "error", "critical"]
State = Literal["firing", "resolved"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A rule's limit was crossed, or is kept again."""

    id: str
    """Of this alert; the same for a "resolved" and the "firing" that it ends."""
    rule: str
    """The rule's name; its kind unless it was given one."""
    type: str
    """The rule's class: "LatencyThreshold", "Budget", ..."""
    state: State
    severity: Severity
    text: str
    """What happened, in one line."""
    value: float | None
    """What was measured, in `unit`; None for a rule that only says yes."""
    limit: float | None
    unit: str
    """ "ms", "USD", "tokens", "s", "1" (a rate), or "" """
    time_ns: int
    """When it happened, by the spans' own clock: the end of the span that did it."""
    experiment_id: str = ""
    experiment_name: str = ""
    action: str | None = None
    """ "stop": the next trial raises `BudgetExceeded`."""
    suppressed: int = 0
    """Firings of the same rule since its last alert that the rate limit held back."""
    trace_id: str | None = None
    span_id: str | None = None
    condition: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain
