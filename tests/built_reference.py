"""Whether the built reference has everything: `nox -s docs` runs this on the site that it has built.

The pages hold directives, which are filled when the site is built; a name that the generator cannot
find would be an empty place there, so what is looked at is the result.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import otel_research as otr
from otel_research.cli import COMMANDS

SAID_IN_WORDS = {"__version__", "compare_experiments"}
"""A text, and a second name: there is nothing to generate."""


def anchors() -> Iterator[str]:
    """The anchor of every public name, and of every public method that a public class defines itself."""
    for name in sorted(set(otr.__all__) - SAID_IN_WORDS):
        found = getattr(otr, name)
        is_error = inspect.isclass(found) and found.__module__ == "otel_research.errors"
        path = f"otel_research.{'errors.' if is_error else ''}{name}"
        yield path
        if inspect.isclass(found):
            yield from (f"{path}.{key}" for key, value in vars(found).items() if _is_method(key, value))


def _is_method(key: str, value: object) -> bool:
    return not key.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))


def missing(site: Path) -> list[str]:
    """What the two pages lack."""
    api, cli = ((site / "reference" / name).read_text() for name in ("api.html", "cli.html"))
    lacking = [f"api: {anchor}" for anchor in anchors() if f'id="{anchor}"' not in api]
    lacking += [f"api: {name}" for name in SAID_IN_WORDS - {"__version__"} if f"{name}</code>" not in api]
    return lacking + [f"cli: {name}" for name in COMMANDS if f'id="otel-research-{name}"' not in cli]


if __name__ == "__main__":
    lacking = missing(Path(sys.argv[1]))
    sys.exit("not in the built reference:\n" + "\n".join(lacking) if lacking else None)
