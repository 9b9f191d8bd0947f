"""The backend that nobody named: OpenTelemetry's own default is one on this machine, which may not be there."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from importlib.metadata import entry_points

_SIGNALS = ("TRACES", "METRICS", "LOGS")
PORTS = (4317, 4318)
"""Where the OTLP exporters send what has no endpoint: gRPC and HTTP."""
_FILES = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")
_NEUTRAL = "opentelemetry.distro"
_PATIENCE_SECONDS = 0.5
"""This machine refuses at once; only a firewall that swallows makes a caller wait."""


def spared(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that keep a program from sending to the default backend, where it is not there and nobody chose it.

    Else every program complains about it, and waits for it at its end. Whatever chooses a backend (an exporter, an
    endpoint, a configuration file, a vendor's distro) is left alone.
    """
    if any(environment.get(name) for name in _FILES) or _has_a_distro(environment):
        return {}
    unnamed = [signal for signal in _SIGNALS if not _is_named(signal, environment)]
    if not unnamed or any(_listens(port) for port in PORTS):
        return {}
    return {f"OTEL_{signal}_EXPORTER": "none" for signal in unnamed}


def _is_named(signal: str, environment: Mapping[str, str]) -> bool:
    names = (f"OTEL_{signal}_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(environment.get(name) for name in names)


def _has_a_distro(environment: Mapping[str, str]) -> bool:
    """Whether a vendor's distro may choose: it sets what the environment leaves open."""
    distros = entry_points(group="opentelemetry_distro")
    return bool(environment.get("OTEL_PYTHON_DISTRO")) or any(not one.value.startswith(_NEUTRAL) for one in distros)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("localhost", port), timeout=_PATIENCE_SECONDS):
            return True
    except OSError:
        return False
