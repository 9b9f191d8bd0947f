"""Which experiments a text means: an id, the beginning of one, or a name."""

from __future__ import annotations

from collections.abc import Iterable

from otel_research.errors import ConfigurationError
from otel_research.experiments import ExperimentRecord

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
