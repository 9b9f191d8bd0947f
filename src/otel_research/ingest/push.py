"""Replay an experiment to any OTLP endpoint: another receiver, a collector, a backend."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from otel_research.experiments import ExperimentRecord
from otel_research.ingest.json_body import message_from
from otel_research.ingest.sender import Target, TooLarge
from otel_research.ingest.signals import TRACES
from otel_research.store.files import make_folder, write_whole

if TYPE_CHECKING:
    import polars as pl

BATCH = 512
"""Spans of one request, as OpenTelemetry's own exporters send."""


@dataclass
class Pushed:
    """What became of the spans: `accepted + rejected + skipped == spans`."""

    endpoint: str
    spans: int = 0
    accepted: int = 0
    rejected: int = 0
    skipped: int = 0
    """Accepted by the endpoint in an earlier, interrupted push."""
    reasons: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "reasons": dict(self.reasons)}


def push(
    spans: pl.LazyFrame,
    record: ExperimentRecord,
    target: Target,
    *,
    batch: int = BATCH,
    is_afresh: bool = False,
    on_progress: Callable[[Pushed], object] = lambda pushed: None,
) -> Pushed:
    """Send every row, in the order of their start; after an interruption go on behind the last answered request.

    Only an experiment that is over can be gone on with: the rows of one that runs may change.
    Raises `PushFailed` where the endpoint takes no spans; what it has taken is remembered.
    """
    from otel_research.formats import otlp
    from otel_research.spans.schema import RAW, names

    ordered = spans.select(names(RAW)).sort("start_ns", "trace_id", "span_id", nulls_last=True).collect()
    mark = _Mark(record, target.url)
    pushed = Pushed(target.url, spans=ordered.height, skipped=0 if is_afresh else min(mark.read(), ordered.height))
    for start in range(pushed.skipped, ordered.height, batch):
        rows = ordered.slice(start, batch)
        for sent, rejected, why in _sent(list(rows.iter_rows(named=True)), target, otlp.request):
            pushed.accepted += sent - rejected
            pushed.rejected += rejected
            if rejected:
                pushed.reasons[why or "the endpoint gave no reason"] += rejected
        mark.write(start + rows.height)
        on_progress(pushed)
    mark.remove()
    return pushed


def _sent(rows: list[dict[str, Any]], target: Target, request: Any) -> Iterator[tuple[int, int, str]]:
    """(spans, rejected, why) of each request that it took; what is too large goes in halves."""
    body = message_from(request(rows), TRACES.request()).SerializeToString()
    try:
        answer = target.send(body)
    except TooLarge:
        if len(rows) == 1:
            yield 1, 1, "a span is larger than the endpoint takes"
            return
        half = len(rows) // 2
        yield from _sent(rows[:half], target, request)
        yield from _sent(rows[half:], target, request)
        return
    yield len(rows), min(answer.rejected, len(rows)), answer.why


class _Mark:
    """How far a push has come, in the user's state folder; of one experiment, in one state, to one endpoint."""

    def __init__(self, record: ExperimentRecord, url: str) -> None:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        about = f"{record.id}\n{record.content_hash}\n{url}"
        self._is_kept = record.content_hash is not None
        self._path = state / "otel-research" / "push" / hashlib.sha256(about.encode()).hexdigest()[:32]

    def read(self) -> int:
        """Rows that the endpoint has answered for."""
        try:
            return max(0, msgspec.json.decode(self._path.read_bytes(), type=int)) if self._is_kept else 0
        except (OSError, msgspec.DecodeError):
            return 0

    def write(self, rows: int) -> None:
        """It has answered for so many."""
        if self._is_kept:
            make_folder(self._path.parent)
            write_whole(self._path, msgspec.json.encode(rows))

    def remove(self) -> None:
        """Everything is sent."""
        self._path.unlink(missing_ok=True)
