"""An experiment's ledger over all its processes: the frames say what was stored, the processes what was not."""

from __future__ import annotations

from typing import Any

from otel_research.capture.ledger import Ledger
from otel_research.store.library import Library


def of_experiment(library: Library, experiment_id: str, *, is_running: bool) -> Ledger:
    """The ledger of one experiment as its store tells it."""
    import polars as pl

    counts, unfinished = library.journal.counts(experiment_id)
    told = library.journal.ledgers(experiment_id)
    is_ended = ~pl.col("status").eq_missing("interrupted")
    rows = library.scan(experiment_id).select(is_ended.sum().alias("stored")).collect()
    stored = int(rows["stored"][0] or 0)

    lost, errors = _summed(told, "lost"), _summed(told, "errors")
    received, late = _count(told, "received"), _count(told, "late")
    left_out = counts.left_out
    # An exporter's spans come as frames too, but were not made here.
    made = counts.ended - _count(told, "framed")
    ended = made + sum(left_out.values()) + sum(lost.values()) + late
    started = counts.started + counts.unannounced - _count(told, "framed") + _count(told, "unseen_starts")
    return Ledger(
        started=max(started, ended),
        ended=ended,
        open=unfinished if is_running else 0,
        interrupted=max(started, ended) - ended - (unfinished if is_running else 0),
        received=received,
        stored=stored,
        filtered=left_out.get("filtered", 0),
        sampled_out=left_out.get("sampled_out", 0),
        duplicates=made + received - stored,
        late=late,
        outside=0,
        lost=lost,
        errors=errors,
    )


def _count(told: list[dict[str, Any]], name: str) -> int:
    return sum(int(ledger.get(name, 0)) for ledger in told)


def _summed(told: list[dict[str, Any]], name: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for ledger in told:
        for reason, number in (ledger.get(name) or {}).items():
            sums[reason] = sums.get(reason, 0) + number
    return sums
