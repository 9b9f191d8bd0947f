"""Hooks run inside other people's set-up: what goes wrong in ours is reported, and theirs goes on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

Parameters = ParamSpec("Parameters")

_logger = logging.getLogger("otel_research")


def swallowing(hook: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """The hook, which logs what it raises: its caller sees nothing of it."""

    @functools.wraps(hook)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            hook(*args, **kwargs)
        except Exception as error:
            _logger.error("otel_research: %s failed, the program goes on without it: %s", hook.__name__, error)

    return guarded
