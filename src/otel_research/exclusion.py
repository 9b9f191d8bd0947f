"""What `exp.exclude` writes down: checked first, because a note cannot be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_research.errors import ConfigurationError
from otel_research.experiments import check_json
from otel_research.trial import Trial


def described(what: Any) -> dict[str, Any]:
    """A trial, its id or a mapping from column to value, as an annotation says it."""
    if isinstance(what, Mapping):
        return {"where": _checked(check_json("where", what))}
    trial_id = what.id if isinstance(what, Trial) else what
    if not isinstance(trial_id, str) or not trial_id:
        raise ConfigurationError(
            f"cannot exclude {what!r}: pass a trial that has run, a trial's id, or a mapping such as {{'item_id': 'q7'}}."
        )
    return {"trial_id": trial_id}


def _checked(where: dict[str, Any]) -> dict[str, Any]:
    """The mapping, if every column exists and can have its value."""
    import polars as pl

    from otel_research.spans.schema import ALL, polars_schema
    from otel_research.spans.where import predicate

    predicate(where, pl.LazyFrame(schema=polars_schema(ALL)))
    return where
