"""Did the user ask for us? By a variable of ours, or by our name in one of OpenTelemetry's."""

from __future__ import annotations

import os
import sys
from pathlib import PurePath

from otel_research.context import ENV_PREFIX, environment
from otel_research.errors import ConfigurationError
from otel_research.experiments import check_name

NAME = "research"
"""What we are called in variables and configuration files of OpenTelemetry's."""
RECORDS = ("OTEL_TRACES_EXPORTER", "OTEL_PYTHON_TRACER_PROVIDER")
"""Where our name alone asks for the run to be an experiment."""
PREPARES = ("OTEL_TRACES_SAMPLER",)
"""Where our name asks to be there for the program's own experiments."""
_ALONE_ASKS_NOTHING = {"disabled"}

# What a configuration file asked for: its hooks are called one by one and nobody is told the file.
_noted: set[str] = set()


def note(variable: str) -> None:
    """A hook was called by name, so a configuration file named us where `variable` would have."""
    _noted.add(variable)


def is_asked() -> bool:
    """Whether anything names us."""
    return bool(environment().keys() - _ALONE_ASKS_NOTHING) or any(map(_names_us, RECORDS + PREPARES))


def is_run_asked() -> bool:
    """Whether the run is to be an experiment although no variable of ours names one."""
    said = environment()
    return "experiment" not in said and "experiment_id" not in said and any(map(_names_us, RECORDS))


def _names_us(variable: str) -> bool:
    words = (word.strip() for word in os.environ.get(variable, "").split(","))
    return variable in _noted or NAME in words


def name_the_run() -> None:
    """Call the experiment of this run after its service, else its program."""
    os.environ[ENV_PREFIX + "EXPERIMENT"] = named_after(
        os.environ.get("OTEL_SERVICE_NAME", ""), program(sys.orig_argv[1:])
    )


def named_after(*candidates: str) -> str:
    """The first of the candidates that can be an experiment's name."""
    for candidate in candidates:
        try:
            return check_name(candidate)
        except ConfigurationError:
            continue
    return "run"


def program(words: list[str]) -> str:
    """What a command line runs: a script's file name, or a module's name after `-m`."""
    for option, following in zip(words, [*words[1:], ""], strict=True):
        if option == "-m":
            return following
        if option == "-c":
            return "python -c"
        if not option.startswith("-"):
            return PurePath(option).name
    return ""
