"""What is sent is what the services take, and a sink that is down loses nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from calls_made import alert
from jsonschema import Draft202012Validator

from otel_research import alerts
from otel_research.alerts.delivery import Delivery
from otel_research.alerts.sinks import checked
from otel_research.alerts.webhook import pagerduty, slack
from otel_research.errors import ConfigurationError

# PagerDuty, "Send an event to PagerDuty" (Events API v2): required fields, enumerations and limits.
PAGERDUTY = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "additionalProperties": False,
    "properties": {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "maxLength": 255},
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "additionalProperties": False,
            "properties": {
                "summary": {"type": "string", "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "warning", "error", "info"]},
                "timestamp": {
                    "type": "string",
                    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:?\d\d|Z)$",
                },
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": {"type": "object"},
            },
        },
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}
# Slack, "Sending messages using incoming webhooks" and "Block Kit": header, section and context blocks.
_TEXT = {"type": "object", "required": ["type", "text"], "additionalProperties": False}
SLACK = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "text": {"type": "string", "maxLength": 40000},
        "blocks": {
            "type": "array",
            "maxItems": 50,
            "items": {
                "oneOf": [
                    {
                        "required": ["type", "text"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "header"},
                            "text": {
                                **_TEXT,
                                "properties": {
                                    "type": {"const": "plain_text"},
                                    "text": {"type": "string", "minLength": 1, "maxLength": 150},
                                },
                            },
                        },
                    },
                    {
                        "required": ["type", "text"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "section"},
                            "text": {
                                **_TEXT,
                                "properties": {
                                    "type": {"const": "mrkdwn"},
                                    "text": {"type": "string", "minLength": 1, "maxLength": 3000},
                                },
                            },
                        },
                    },
                    {
                        "required": ["type", "elements"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "context"},
                            "elements": {
                                "type": "array",
                                "maxItems": 10,
                                "items": {
                                    **_TEXT,
                                    "properties": {
                                        "type": {"const": "mrkdwn"},
                                        "text": {"type": "string", "minLength": 1},
                                    },
                                },
                            },
                        },
                    },
                ]
            },
        },
    },
}
ALERTS = [
    alert(),
    alert(state="resolved"),
    alert(severity="critical", text="x" * 50_000, rule="r" * 500, experiment_name="<script>&"),
    alert(value=None, limit=None, experiment_id="", experiment_name=""),
]


@pytest.mark.parametrize("one", ALERTS)
def test_bodies_are_what_the_services_take(one: alerts.Alert) -> None:
    """Against the published schemas, long and odd alerts included."""
    Draft202012Validator(PAGERDUTY).validate(pagerduty(one, "k" * 32))
    Draft202012Validator(SLACK).validate(slack(one))


def test_the_schemas_refuse_what_is_wrong() -> None:
    """A check that cannot fail is none."""
    broken = pagerduty(alert(), "k" * 32)
    broken["payload"]["severity"] = "loud"
    assert not Draft202012Validator(PAGERDUTY).is_valid(broken)
    assert not Draft202012Validator(SLACK).is_valid(
        {"text": "x", "blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}
    )


def test_slack_gets_no_markup_from_names() -> None:
    """`<!channel>` in a name must not call a channel."""
    assert "<!channel>" not in json.dumps(slack(alert(text="<!channel> is late", experiment_name="<!here>")))


def test_a_resolved_alert_resolves_the_incident_of_its_firing() -> None:
    """Both carry the same deduplication key."""
    opened, closed = pagerduty(alert(), "k" * 32), pagerduty(alert(state="resolved"), "k" * 32)
    assert (opened["event_action"], closed["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == closed["dedup_key"]


class Endpoint:
    """An HTTP endpoint that answers as it is told."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.answers: list[int] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = endpoint.answers.pop(0) if endpoint.answers else 200
                if status == 200:
                    endpoint.bodies.append(json.loads(body))
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_alert_arrives_as_json(endpoint: Endpoint) -> None:
    """The generic body is the alert."""
    alerts.webhook(endpoint.url).deliver(alert())
    assert endpoint.bodies == [alert().to_dict()]


def test_an_endpoint_that_is_down_gets_every_alert_in_order_when_it_is_back(endpoint: Endpoint) -> None:
    """Retried and noted."""
    endpoint.answers = [503, 500, 429]
    notes: list[dict[str, Any]] = []
    delivery = Delivery(alerts.webhook(endpoint.url), notes.append, first_pause=0.01)
    for number in range(5):
        delivery.put(alert(value=float(number)))
    delivery.close(5.0)
    assert [body["value"] for body in endpoint.bodies] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [(note["state"], note["attempts"]) for note in notes] == [("failing", 1), ("delivered", 4)]


def test_nobody_waits_for_a_sink() -> None:
    """Every alert is put while the first one is still on its way; none is lost, and they keep their order."""
    is_back, arrived = threading.Event(), []

    class Held:
        name = "held"

        def deliver(self, told: alerts.Alert) -> None:
            assert is_back.wait(30)
            arrived.append(told.value)

    delivery = Delivery(Held(), lambda note: None)
    for number in range(5):
        delivery.put(alert(value=float(number)))
    assert arrived == []
    is_back.set()
    delivery.close(30.0)
    assert arrived == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_what_cannot_be_delivered_is_noted_as_such() -> None:
    """A dead endpoint at the end of the run: every alert is accounted for."""
    notes: list[dict[str, Any]] = []
    delivery = Delivery(alerts.webhook("http://127.0.0.1:9/dead"), notes.append, first_pause=0.05)
    delivery.put(alert(id="a"))
    delivery.put(alert(id="b"))
    delivery.close(0.3)
    assert [note["alert_id"] for note in notes if note["state"] == "undelivered"] == ["a", "b"]


@pytest.mark.parametrize("status", [400, 404, 302])
def test_a_refusal_is_not_repeated(endpoint: Endpoint, status: int) -> None:
    """A wrong address or body stays wrong; a redirect would lose the body."""
    endpoint.answers = [status]
    notes: list[dict[str, Any]] = []
    delivery = Delivery(alerts.webhook(endpoint.url), notes.append)
    delivery.put(alert())
    delivery.close(2.0)
    assert [(note["state"], note["attempts"]) for note in notes] == [("refused", 1)]
    assert endpoint.bodies == []


def test_a_callback_that_raises_is_noted_and_the_next_alert_comes() -> None:
    """The program's function is called once per alert."""
    seen: list[str] = []

    def act(one: alerts.Alert) -> None:
        seen.append(one.id)
        raise RuntimeError("no")

    notes: list[dict[str, Any]] = []
    delivery = Delivery(alerts.callback(act), notes.append)
    delivery.put(alert(id="a"))
    delivery.put(alert(id="b"))
    delivery.close(2.0)
    assert seen == ["a", "b"]
    assert [note["state"] for note in notes] == ["refused", "refused"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: alerts.webhook("file:///etc/passwd"),
        lambda: alerts.webhook(),
        lambda: alerts.webhook("http://h", format="teams"),  # type: ignore[arg-type]
        lambda: alerts.webhook(format="pagerduty"),
        lambda: alerts.callback(3),  # type: ignore[arg-type]
        lambda: checked([3]),
    ],
)
def test_a_sink_that_cannot_work_is_refused_when_it_is_made(wrong: Any) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigurationError):
        wrong()
