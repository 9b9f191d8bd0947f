"""Rules that watch a run, and where their alerts go.

    import otel_research as otr
    from otel_research import alerts

    exp = otr.start_experiment("night-run", alerts=[alerts.Budget(5.00, action="stop")])
    exp.alert(alerts.ErrorRate(0.1, "60s"), sinks=[alerts.webhook("https://hooks.slack.com/…", format="slack")])

rules       one class per rule: what it measures and when it is too much
window      the last seconds, or the last calls
watch       rules over calls as they come: hysteresis, rate limit
sinks, webhook, delivery    where an alert goes, and that it gets there
"""

from __future__ import annotations

from otel_research.alerts.alert import Alert
from otel_research.alerts.rules import (
    Budget,
    CostThreshold,
    Custom,
    ErrorRate,
    LatencyThreshold,
    NoData,
    Rule,
    TokenThreshold,
)
from otel_research.alerts.seen import Call, Span, Totals
from otel_research.alerts.sinks import Sink, callback, log
from otel_research.alerts.text import parsed
from otel_research.alerts.watch import Watch
from otel_research.alerts.webhook import webhook

__all__ = [
    "Alert",
    "Budget",
    "Call",
    "CostThreshold",
    "Custom",
    "ErrorRate",
    "LatencyThreshold",
    "NoData",
    "Rule",
    "Sink",
    "Span",
    "TokenThreshold",
    "Totals",
    "Watch",
    "callback",
    "log",
    "parsed",
    "webhook",
]
