"""An experiment's ledger over all its processes: frames, rows and processes each say what they know.

Nothing is made to fit: what has started and ended is counted in the frames (and told by the
processes where no frame could be written), what is stored in the rows. Where those disagree the
ledger does not balance.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from otel_research.capture.ledger import Ledger, better
from otel_research.journal.reader import Counts
from otel_research.store.library import Library

Told = Sequence[dict[str, Any]]
_LOST = "lost:"
"""Before the reason, where a frame or a process tells of a loss."""


class _Rows(NamedTuple):
    """How many rows there are."""

    stored: int
    copies: int
    """Of spans that are stored, further rows."""
    interrupted: int | None
    """Also where an ended row takes the place of one; None where that cannot be seen."""


def of_experiment(library: Library, experiment_id: str, *, is_running: bool) -> Ledger:
    """The ledger of one experiment as its store tells it."""
    frames, opened = library.counts(experiment_id)
    told = library.ledgers(experiment_id)
    have_left = library.have_all_left(experiment_id)
    rows = _counted(library, experiment_id)

    lost = _lost(told, frames, have_left=have_left)
    late, received, elsewhere = (_count(told, name) for name in ("late", "received", "framed"))
    received, elsewhere = received + frames.received, elsewhere + frames.received
    lost_received = _summed(told, "lost_received")
    filtered, sampled_out = (_left_out(told, frames, reason) for reason in ("filtered", "sampled_out"))
    framed = _framed(told, frames, elsewhere, have_left=have_left)
    # Spans may go on ending between the two looks: what is stored beyond the frames counted is the next look's.
    arrived = received - lost_received.total()
    stored = min(rows.stored, framed + arrived) if is_running else rows.stored
    ended = framed + filtered + sampled_out + lost.total() + late
    started = _count(told, "started") if have_left else _started(told, frames, elsewhere)
    if rows.interrupted is None:
        unfinished = started - ended
    else:
        # Among the spans without an end in a frame are those whose end is late or lost.
        unfinished = opened + rows.interrupted + _count(told, "unseen_starts") - _ended_in_no_frame(told, frames)
    return Ledger(
        started=started,
        ended=ended,
        open=unfinished if is_running else 0,
        interrupted=0 if is_running else unfinished,
        received=received,
        stored=stored,
        filtered=filtered,
        sampled_out=sampled_out,
        duplicates=_duplicates(framed + arrived - stored, rows, arrived),
        late=late,
        outside=0,
        lost=dict(lost + lost_received),
        errors=dict(_summed(told, "errors")),
        overhead=functools.reduce(better, (process.get("overhead") or {} for process in told), {}),
    )


def of_processes(library: Library, experiment_id: str, *, is_running: bool) -> dict[str, Ledger]:
    """The ledger of every process that took part, by the name of its journal (host, process id, random).

    A span that two processes told of is stored by both here; the experiment's own ledger counts the
    second as a duplicate.
    """
    return {
        writer: _of_process(frames, [told], is_running=is_running)
        for writer, (frames, told) in library.by_writer(experiment_id).items()
    }


def _of_process(frames: Counts, told: Told, *, is_running: bool) -> Ledger:
    lost = _lost(told, frames, have_left=bool(told[0].get("is_final")))
    late, received, elsewhere = (_count(told, name) for name in ("late", "received", "framed"))
    received, elsewhere = received + frames.received, elsewhere + frames.received
    lost_received = _summed(told, "lost_received")
    filtered, sampled_out = (_left_out(told, frames, reason) for reason in ("filtered", "sampled_out"))
    framed = _framed(told, frames, elsewhere, have_left=bool(told[0].get("is_final")))
    ended = framed + filtered + sampled_out + lost.total() + late
    started = _started(told, frames, elsewhere)
    unfinished = started - ended
    return Ledger(
        started=started,
        ended=ended,
        open=unfinished if is_running else 0,
        interrupted=0 if is_running else unfinished,
        received=received,
        stored=framed + received - lost_received.total(),
        filtered=filtered,
        sampled_out=sampled_out,
        late=late,
        lost=dict(lost + lost_received),
        errors=dict(_summed(told, "errors")),
        overhead=told[0].get("overhead") or {},
    )


def _framed(told: Told, frames: Counts, elsewhere: int, *, have_left: bool) -> int:
    """Ends in frames, of spans made here: what came in from elsewhere may have been journaled too.

    After a failed sync frames are written again. Who has left has said how many there are; the
    second copies are no ends of their own.
    """
    framed = frames.ended - elsewhere
    return min(framed, _count(told, "framed_ends")) if have_left else framed


def _counted(library: Library, experiment_id: str) -> _Rows:
    import polars as pl

    is_interrupted = pl.col("status").eq_missing("interrupted")
    amounts = (~is_interrupted).sum().alias("ended"), is_interrupted.sum().alias("interrupted")
    stored = library.scan(experiment_id).select(amounts).collect().row(0)[0]
    lying = library.copies(experiment_id)
    if lying is None:
        return _Rows(stored, 0, None)
    ended, interrupted = lying.select(amounts).collect().row(0)
    return _Rows(stored, ended - stored, interrupted)


def _duplicates(missing: int, rows: _Rows, received: int) -> int:
    """Ends without a row of their own: second copies that lie here, or what came in twice; never more than those."""
    known = missing if rows.interrupted is None else rows.copies + received
    return max(0, min(missing, known))


def _lost(told: Told, frames: Counts, *, have_left: bool) -> Counter[str]:
    """By reason: what frames say, what only processes could say, and what is missing here."""
    lost = _lost_unwritten(told) + Counter(
        {name.removeprefix(_LOST): number for name, number in frames.left_out.items() if name.startswith(_LOST)}
    )
    # A sum of counters leaves out what is 0.
    return lost + Counter({"damaged": frames.damaged, "removed": _removed(told, frames) if have_left else 0})


def _lost_unwritten(told: Told) -> Counter[str]:
    unwritten = _summed(told, "unwritten").items()
    return Counter({name.removeprefix(_LOST): number for name, number in unwritten if name.startswith(_LOST)})


def _removed(told: Told, frames: Counts) -> int:
    """Who has left has said how many end frames there are: what is not here was taken away."""
    return max(0, _count(told, "framed_ends") - frames.ended - frames.damaged)


def _started(told: Told, frames: Counts, elsewhere: int) -> int:
    unannounced = frames.unannounced - elsewhere - _count(told, "announced_at_home")
    return frames.started + unannounced + _count(told, "unseen_starts") + _count(told, "unseen_ends")


def _ended_in_no_frame(told: Told, frames: Counts) -> int:
    """Ends that no frame tells of, of spans whose start one tells of: those look open, or interrupted."""
    ends = _lost_unwritten(told).total() + _count(told, "late") + _count(told, "announced_at_home")
    # Where starts are not journaled, nothing looks open.
    return ends - _count(told, "unseen_ends") + (frames.damaged if frames.started else 0)


def _left_out(told: Told, frames: Counts, reason: str) -> int:
    return frames.left_out.get(reason, 0) + _summed(told, "unwritten")[reason]


def _count(told: Told, name: str) -> int:
    return sum(int(process.get(name, 0)) for process in told)


def _summed(told: Told, name: str) -> Counter[str]:
    sums: Counter[str] = Counter()
    for process in told:
        sums.update(process.get(name) or {})
    return sums
