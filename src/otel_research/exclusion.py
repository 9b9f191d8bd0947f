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
        from otel_research.spans.where import check_spans

        where = check_json("where", what)
        check_spans(where)
        return {"where": where}
    trial_id = what.id if isinstance(what, Trial) else what
    if not isinstance(trial_id, str) or not trial_id:
        raise ConfigurationError(
            f"cannot exclude {what!r}: pass a trial that has run, a trial's id, or a mapping such as {{'item_id': 'q7'}}."
        )
    return {"trial_id": trial_id}
