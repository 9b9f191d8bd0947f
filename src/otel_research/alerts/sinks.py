"""Where an alert goes inside the program: its log, or a function."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from otel_research.alerts.alert import Alert
from otel_research.errors import ConfigurationError

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "critical": logging.CRITICAL}


class Sink(Protocol):
    """Takes alerts, one at a time, on a thread of its own; never on a span's way."""

    name: str
    """Says in the experiment's record which sink it was."""

    def deliver(self, alert: Alert) -> None:
        """Take one alert. Raises `Refused` where trying again is useless, anything else to be tried again."""


class Refused(Exception):
    """The sink will not take this alert, however often it is offered."""


class _Log:
    name = "log"

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def deliver(self, alert: Alert) -> None:
        level = _LEVELS[alert.severity] if alert.state == "firing" else logging.INFO
        self._logger.log(level, "otel_research: %s [%s, experiment %s]", alert.text, alert.state, alert.experiment_name)


class _Callback:
    def __init__(self, function: Callable[[Alert], Any]) -> None:
        self._function = function
        self.name = f"callback {getattr(function, '__qualname__', repr(function))}"

    def deliver(self, alert: Alert) -> None:
        try:
            self._function(alert)
        except Exception as error:
            # Calling the program's own function twice for one alert would be a surprise.
            raise Refused(f"it raised {error!r}") from error


def log(logger: logging.Logger | None = None) -> Sink:
    """Into the program's log, by default the logger "otel_research"."""
    return _Log(logger or logging.getLogger("otel_research"))


def callback(function: Callable[[Alert], Any]) -> Sink:
    """`function(alert)`, called on a thread of ours."""
    if not callable(function):
        raise ConfigurationError(f"callback({function!r}) is not callable: pass a function that takes an Alert.")
    return _Callback(function)


def checked(sinks: Iterable[Any]) -> tuple[Sink, ...]:
    """The sinks; a function stands for `callback`, an address for `webhook`."""
    from otel_research.alerts.webhook import webhook

    found: list[Sink] = []
    for sink in sinks:
        if callable(getattr(sink, "deliver", None)):
            found.append(sink)
        elif isinstance(sink, str):
            found.append(webhook(sink))
        elif callable(sink):
            found.append(callback(sink))
        else:
            raise ConfigurationError(
                f"{sink!r} is not a sink: use alerts.log(), alerts.webhook(url), a function, or an object with deliver(alert)."
            )
    return tuple(found)
