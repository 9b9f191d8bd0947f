"""One file per tool: how it is set up, as its documentation says, and what it answers when it is asked.

A tool has a `TITLE`, the `PACKAGE` whose version is told (`FIELD` in noxfile.py has what its environment needs), and of these
functions those that can be run here:

- `trace(backend)`: its tracing, sending to a backend on loopback, or storing in the current folder.
- `stored()`: the spans that the current folder holds; without it what the backend received is counted.
- `frame()`, `cost()`, `intervals()`: what its own functions return. A sentence in `NOT_RUN` says why one is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from opentelemetry.trace import TracerProvider


class Tracing(NamedTuple):
    """A tool that is set up."""

    provider: TracerProvider
    flush: Callable[[], object]
    close: Callable[[], object]


def named(name: str) -> ModuleType:
    """The file of a tool; `phoenix-default` is a variant in the file `phoenix`."""
    tool = import_module(f"field.tools.{name.partition('-')[0]}")
    return tool.variant(name) if "-" in name else tool
