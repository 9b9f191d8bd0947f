"""Alerts over HTTP: Slack's incoming webhooks, PagerDuty's Events API v2, or plain JSON."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from otel_research.alerts.alert import Alert
from otel_research.alerts.sinks import Refused, Sink
from otel_research.errors import ConfigurationError

Format = Literal["json", "slack", "pagerduty"]
PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
_TIMEOUT = 5.0
_AGAIN = frozenset({408, 425, 429})
"""Answers below 500 that are worth another attempt."""
_HEADER, _SECTION, _SUMMARY = 150, 3000, 1024
"""Characters that Slack's blocks and PagerDuty's summary take."""


@functools.cache
def _opener() -> Any:
    """Opens requests and follows no redirect: the POST would become a GET without a body, a loss that looks fine."""
    import urllib.request

    class Unredirected(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *arguments: Any) -> None:
            return None

    return urllib.request.build_opener(Unredirected)


class _Webhook:
    def __init__(self, url: str, body: Callable[[Alert], dict[str, Any]], headers: Mapping[str, str]) -> None:
        self.name = f"webhook {urlsplit(url).hostname}"
        self._url = url
        self._body = body
        self._headers = {"content-type": "application/json", "user-agent": "otel-research", **headers}

    def deliver(self, alert: Alert) -> None:
        import urllib.error
        import urllib.request

        data = json.dumps(self._body(alert), ensure_ascii=False, allow_nan=False).encode()
        request = urllib.request.Request(self._url, data=data, headers=self._headers, method="POST")
        try:
            with _opener().open(request, timeout=_TIMEOUT) as answer:
                answer.read(1024)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(200).decode("utf-8", "replace")
            text = f"the endpoint answered {error.code}: {said}"
            if error.code < 500 and error.code not in _AGAIN:
                raise Refused(text) from error
            raise ConnectionError(text) from error


def webhook(
    url: str | None = None,
    *,
    format: Format = "json",
    routing_key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Sink:
    """POST every alert to an address.

    Args:
        url: where to; PagerDuty has a default.
        format: "json" sends `Alert.to_dict()`, "slack" what an incoming webhook takes, "pagerduty" an event of
            its Events API v2: a resolved alert resolves the incident that its firing opened.
        routing_key: PagerDuty's integration key.
        headers: more HTTP headers, an authorisation for example.
    """
    if format not in ("json", "slack", "pagerduty"):
        raise ConfigurationError(f"webhook(format={format!r}): use 'json', 'slack' or 'pagerduty'.")
    if format == "pagerduty" and len(routing_key or "") != 32:
        raise ConfigurationError(
            "webhook(format='pagerduty') needs routing_key=, the 32 characters of the integration's key."
        )
    address = url or (PAGERDUTY if format == "pagerduty" else None)
    parts = urlsplit(address or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"webhook({url!r}) is no http(s) address.")
    assert address is not None
    bodies: dict[str, Callable[[Alert], dict[str, Any]]] = {
        "json": Alert.to_dict,
        "slack": slack,
        "pagerduty": lambda alert: pagerduty(alert, routing_key or ""),
    }
    return _Webhook(address, bodies[format], headers or {})


def slack(alert: Alert) -> dict[str, Any]:
    """The body for a Slack incoming webhook: a text for notifications, blocks for the channel."""
    title = f"{'Resolved' if alert.state == 'resolved' else alert.severity.capitalize()}: {alert.rule}"
    facts = f"experiment {alert.experiment_name} ({alert.experiment_id[:12]}) · {_moment(alert)} UTC"
    text = _mrkdwn(alert.text)
    return {
        "text": _cut(text, _SECTION),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": _cut(title, _HEADER)}},
            {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text, _SECTION)}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": _cut(_mrkdwn(facts), _SECTION)}]},
        ],
    }


def pagerduty(alert: Alert, routing_key: str) -> dict[str, Any]:
    """The body for PagerDuty's Events API v2."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if alert.state == "resolved" else "trigger",
        "dedup_key": f"{alert.experiment_id}/{alert.id}",
    }
    if alert.state == "firing":
        event["payload"] = {
            "summary": _cut(alert.text, _SUMMARY),
            "source": f"otel-research {alert.experiment_name}".strip(),
            "severity": alert.severity,
            "timestamp": _moment(alert) + "+00:00",
            "component": alert.experiment_name or "experiment",
            "group": alert.experiment_id or "experiment",
            "class": alert.type,
            "custom_details": alert.to_dict(),
        }
    return event


def _mrkdwn(text: str) -> str:
    """Slack's three characters that would be markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _moment(alert: Alert) -> str:
    return datetime.fromtimestamp(alert.time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
