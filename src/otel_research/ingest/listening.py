"""Sockets to listen on, for the receiver and the dashboard."""

from __future__ import annotations

import socket

from otel_research.errors import ConfigurationError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine reaches."""
EVERYWHERE = ("0.0.0.0", "::")
"""Hosts that stand for every address of this machine."""


def bracketed(host: str) -> str:
    """The host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def shown(host: str) -> str:
    """The host for a URL that programs of this machine can use."""
    return LOOPBACK[0] if host in EVERYWHERE else bracketed(host)


def bound(host: str, port: int, option: str) -> socket.socket:
    """A socket on that address; raises `ConfigurationError`, which names the option, where there can be none."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {why}. "
            f"Choose another with {option}, or {option} 0 for any that is free."
        ) from error
    return made
