"""Which experiments a text means: an id, the beginning of one, or a name; or one of those with ":condition" behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from otel_research.errors import ConfigurationError, UnknownExperiment
from otel_research.experiments import ExperimentRecord, is_id

Found = TypeVar("Found")

SHORTEST = 4
"""Letters from which a text may be the beginning of an id."""


def meant(records: Iterable[ExperimentRecord], wanted: str) -> list[ExperimentRecord]:
    """The one that has the id or the only one that it begins; else all of that name, in the order given.

    Raises `ConfigurationError` where it begins several ids.
    """
    by_id = {record.id: record for record in records}
    if wanted in by_id:
        return [by_id[wanted]]
    begun = [record for id_, record in by_id.items() if len(wanted) >= SHORTEST and id_.startswith(wanted)]
    if len(begun) > 1:
        raise ConfigurationError(
            f"{wanted!r} begins several ids: {', '.join(record.id for record in begun)}. Give more of it."
        )
    return begun or [record for record in by_id.values() if record.name == wanted]


def side(text: str, find: Callable[[str], Found]) -> tuple[Found, str | None]:
    """What `find` has for the experiment of "ID" or "ID:condition", and the condition; names may have colons too.

    An id before the first colon is an id. Else every colon may be the one: raises `ConfigurationError` where
    more than one reading names an experiment, and what `find` raises of the whole text where none does.
    """
    found: list[tuple[Found, str | None]] = []
    meanings: list[str] = []
    for name, condition in _readings(text):
        with contextlib.suppress(UnknownExperiment):
            found.append((find(name), condition))
            meanings.append(f"experiment {name!r}" if condition is None else f"condition {condition!r} of {name!r}")
    if len(found) > 1:
        raise ConfigurationError(f"{text!r} may be {' or '.join(meanings)}. Say which by the experiment's id.")
    return found[0] if found else (find(text), None)


def _readings(text: str) -> list[tuple[str, str | None]]:
    """An id, else the whole as a name, and every colon as the one before the condition."""
    head, _, condition = text.partition(":")
    if is_id(head) and condition:
        return [(head, condition)]
    cuts = [place for place, letter in enumerate(text) if letter == ":" and 0 < place < len(text) - 1]
    return [(text, None), *((text[:place], text[place + 1 :]) for place in cuts)]
