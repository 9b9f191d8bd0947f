"""The numbers of an archive, derived from its files alone: the same function makes and checks them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from otel_research.archive import seal
from otel_research.errors import ResearchError
from otel_research.experiments import ExperimentRecord

if TYPE_CHECKING:
    from otel_research.analysis.subject import Subject

TOLERANCE = 1e-9
"""Relative: sums of floats may differ in their last digits between machines."""


def subject_of(folder: Path) -> Subject:
    """What an archive is about, for any analysis."""
    from otel_research.analysis.subject import Subject

    record = msgspec.json.decode((folder / "experiment.json").read_bytes(), type=ExperimentRecord)
    notes = (folder / "annotations.jsonl").read_bytes().splitlines()
    return Subject(
        seal.read_spans(folder),
        record=record,
        label=record.name,
        ledger=msgspec.json.decode((folder / "ledger.json").read_bytes()),
        annotations=tuple(msgspec.json.decode(line) for line in notes),
    )


def derived(subject: Subject) -> dict[str, Any]:
    """Metrics, by condition too; comparisons of the conditions with the first; data quality. As JSON data."""
    from otel_research.analysis.metrics import calculate_metrics, metrics_by
    from otel_research.analysis.quality import validate

    rows = subject.spans.select("condition", "role").unique().collect()
    units = ["call", "trial"] if "trial" in rows["role"] else ["call"]
    conditions = rows["condition"].drop_nulls().unique().sort().to_list()
    found: dict[str, Any] = {}
    for unit in units:
        found[f"metrics per {unit}"] = _said(lambda unit=unit: calculate_metrics(subject, unit=unit))
        if conditions:
            by = metrics_by(subject, "condition", unit=unit)
            found[f"metrics per {unit} by condition"] = {str(key): value.to_dict() for key, value in by.items()}
    for candidate in conditions[1:]:
        found[f"{conditions[0]} against {candidate}"] = _compared(subject, conditions[0], candidate)
    found["quality"] = _said(lambda: validate(subject))
    return msgspec.json.decode(msgspec.json.encode(found))  # type: ignore[no-any-return]


def _compared(subject: Subject, baseline: str, candidate: str) -> Any:
    from otel_research.analysis.compare import compare

    return _said(lambda: compare(subject.where({"condition": baseline}), subject.where({"condition": candidate})))


def _said(calculate: Any) -> Any:
    """The result as data, or why there is none."""
    try:
        return calculate().to_dict()
    except ResearchError as error:
        return {"not computable": str(error)}


def differences(kept: Any, now: Any, path: str = "") -> Iterator[str]:
    """Where two results say different things: one line each."""
    if isinstance(kept, dict) and isinstance(now, dict):
        for key in sorted({*kept, *now}):
            yield from differences(kept.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(kept, list) and isinstance(now, list) and len(kept) == len(now):
        for number, (one, other) in enumerate(zip(kept, now, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif not _same(kept, now):
        yield f"{path}: kept {kept!r}, derived {now!r}"


def _same(kept: Any, now: Any) -> bool:
    if isinstance(kept, (int, float)) and isinstance(now, (int, float)) and not isinstance(kept, bool):
        return math.isclose(kept, now, rel_tol=TOLERANCE, abs_tol=1e-12)
    return bool(kept == now)
