"""From a caller's columns to a model formula and back: names that are safe, levels in their natural order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np

from otel_research.analysis.stats.sample import Floats
from otel_research.errors import ConfigurationError, NotEnoughData

Labels = Mapping[str, Sequence[object]]

_BETWEEN = re.compile(r":(?=(?:C\()?f\d+(?:\W|$))")
"""Between the factors of a term; a colon within a level ("openai:gpt-4o") is none of these."""
_PART = re.compile(r"(?:C\()?(?P<code>f\d+)(?:, Sum\))?(?:\[T\.(?P<level>.*)\])?", re.DOTALL)
"""One factor of a term, and the level that a coefficient is of."""


class Columns:
    """A pandas frame of one response and its factors under code names, because "tool use?" is no formula name."""

    def __init__(self, values: Floats, columns: Labels, *, numbers: Sequence[str] = (), anyhow: Sequence[str] = ()):
        """Columns in `numbers` stay numeric; those in `anyhow` may have a single level."""
        pandas = import_module("pandas")
        data: dict[str, Any] = {"y": values}
        self.codes: dict[str, str] = {}
        self.levels: dict[str, list[str]] = {}
        for index, (name, labels) in enumerate(columns.items()):
            code = self.codes[name] = f"f{index}"
            given = _complete(name, labels, values.size)
            if name in numbers:
                data[code] = np.asarray(given, dtype=np.float64)
                continue
            self.levels[name] = natural_order(given)
            if len(self.levels[name]) < 2 and name not in anyhow:
                raise NotEnoughData(
                    f"Factor {name!r} has one level only, {self.levels[name][0]!r}, so it cannot have an effect."
                )
            data[code] = pandas.Categorical([str(label) for label in given], categories=self.levels[name])
        self.frame = pandas.DataFrame(data)

    def readable(self, name: str) -> str:
        """Formula names back to the caller's: C(f0, Sum):C(f1, Sum) is wool:tension, f0[T.B] is wool[B]."""
        back = {code: own for own, code in self.codes.items()}
        parts = []
        for part in _BETWEEN.split(name):
            found = _PART.fullmatch(part)
            text = part if found is None else back.get(found["code"], found["code"])
            parts.append(text if found is None or found["level"] is None else f"{text}[{found['level']}]")
        return ":".join(parts)

    def cells(self, names: Sequence[str]) -> dict[tuple[str, ...], Floats]:
        """The response's values of every combination of levels, empty ones included."""
        columns = [self.frame[self.codes[name]].astype(str).to_numpy() for name in names]
        values = self.frame["y"].to_numpy()
        found = {}
        for cell in product(*(self.levels[name] for name in names)):
            here = np.logical_and.reduce([column == level for column, level in zip(columns, cell, strict=True)])
            found[cell] = values[here]
        return found

    def empty_cells(self, names: Sequence[str]) -> list[dict[str, str]]:
        """Combinations of levels without any value."""
        return [dict(zip(names, cell, strict=True)) for cell, values in self.cells(names).items() if not values.size]


def natural_order(labels: Sequence[object]) -> list[str]:
    """The different labels as text: numbers by size, everything else by name."""
    different = list(dict.fromkeys(labels))
    is_numeric = all(isinstance(label, (int, float, np.number)) for label in different)
    ordered = sorted(different) if is_numeric else sorted(different, key=str)  # type: ignore[type-var]
    return list(dict.fromkeys(str(label) for label in ordered))


def _complete(name: str, labels: Sequence[object], size: int) -> list[object]:
    given: list[object] = np.asarray(labels, dtype=object).tolist()
    if len(given) != size:
        raise ConfigurationError(f"Factor {name!r} has {len(given)} labels for {size} values.")
    missing = sum(label is None or label != label for label in given)
    if missing:
        raise NotEnoughData(f"{missing} of {size} labels of factor {name!r} are missing. Filter those rows out first.")
    return given
