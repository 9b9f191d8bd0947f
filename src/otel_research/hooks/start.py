"""`opentelemetry_pre_instrument`: recording begins, after OpenTelemetry was set up by variables or by a file."""

from __future__ import annotations

import os
import threading
from typing import Any

from otel_research.hooks.asked import is_asked, is_run_asked, name_the_run
from otel_research.hooks.guard import swallowing

# Protects the one beginning: a hook may be called by a thread while another is at it.
_beginning = threading.Lock()


@swallowing
def pre_instrument() -> None:
    """Record this process as its environment says; nothing where nobody asked."""
    if is_asked():
        begin()


@swallowing
def begin(provider: Any = None) -> None:
    """Set up recording once; which hook comes first makes no difference."""
    from otel_research import recorder
    from otel_research.processes.starting import start_quietly

    with _beginning:
        if recorder.current() is not None:
            return
        if is_run_asked():
            name_the_run()
        made = start_quietly(provider=provider)
        if made is not None:
            made.is_from_outside = True
            _hand_on()


def _hand_on() -> None:
    """Programs that this one starts join the experiment: with its name alone each would begin another one."""
    from otel_research.context import environment_scope
    from otel_research.errors import ConfigurationError
    from otel_research.processes.children import child_env

    if environment_scope() is None:
        return
    try:
        os.environ.update({name: value for name, value in child_env().items() if value})
    except ConfigurationError:
        # A store in memory: another process cannot reach it, and begins what its environment says.
        return
