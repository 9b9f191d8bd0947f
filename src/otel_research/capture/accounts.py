"""An experiment's ledger over all its processes: the frames say what was stored, the processes what was not."""

from __future__ import annotations

import functools
from typing import Any

from otel_research.capture.ledger import Ledger, better
from otel_research.store.library import Library


def of_experiment(library: Library, experiment_id: str, *, is_running: bool) -> Ledger:
    """The ledger of one experiment as its store tells it.

    What was stored is counted in the rows, what ended in the frames, what is in no frame (lost,
    late, made elsewhere) by the processes that saw it. The rest follows from the equations.
    """
    import polars as pl

    counts = library.counts(experiment_id)
    told = library.ledgers(experiment_id)
    is_ended = ~pl.col("status").eq_missing("interrupted")
    rows = library.scan(experiment_id).select(is_ended.sum().alias("stored")).collect()
    stored = int(rows["stored"][0] or 0)

    lost, errors, unwritten = _summed(told, "lost"), _summed(told, "errors"), _summed(told, "unwritten")
    received, late = _count(told, "received"), _count(told, "late")
    left_out = {
        reason: counts.left_out.get(reason, 0) + unwritten.get(reason, 0) for reason in ("filtered", "sampled_out")
    }
    # What came in from elsewhere may have been journaled here too: those ends are not of spans made here.
    framed = counts.ended - _count(told, "framed")
    ended = framed + sum(left_out.values()) + sum(lost.values()) + late
    unannounced = counts.unannounced - _count(told, "framed") - _count(told, "announced_at_home")
    started = counts.started + unannounced + _count(told, "unseen_starts") + _count(told, "unseen_ends")
    unfinished = max(started - ended, 0)
    return Ledger(
        started=ended + unfinished,
        ended=ended,
        open=unfinished if is_running else 0,
        interrupted=0 if is_running else unfinished,
        received=received,
        stored=stored,
        filtered=left_out["filtered"],
        sampled_out=left_out["sampled_out"],
        duplicates=framed + received - stored,
        late=late,
        outside=0,
        lost=lost,
        errors=errors,
        overhead=functools.reduce(better, (process.get("overhead") or {} for process in told), {}),
    )


def _count(told: list[dict[str, Any]], name: str) -> int:
    return sum(int(ledger.get(name, 0)) for ledger in told)


def _summed(told: list[dict[str, Any]], name: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for ledger in told:
        for reason, number in (ledger.get(name) or {}).items():
            sums[reason] = sums.get(reason, 0) + number
    return sums
