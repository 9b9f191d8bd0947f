"""Rows of one file into the experiments they belong to, batch by batch; memory does not grow with the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from otel_research import semconv
from otel_research.errors import StoreUnreachable
from otel_research.formats.otlp_read import Skipped
from otel_research.formats.sources import read_frames
from otel_research.handle import Experiment
from otel_research.imports import scores
from otel_research.imports.share import Share
from otel_research.imports.source import File, Source, source_of
from otel_research.spans.schema import STORED, names
from otel_research.store.library import Library

BATCH = 20_000
"""Rows in memory at once."""
MOST_PROBLEMS = 1000
"""Problems of one file that are kept; all of them are counted."""

_ID = "^[0-9a-f]{8,64}$"


class Problem(NamedTuple):
    """Something in a file that was not imported; `line` is None where it stands nowhere in particular."""

    file: str
    line: int | None
    reason: str
    records: int


class Brought(NamedTuple):
    """What a file brought to one experiment: how many spans that has now, and how many of them are new."""

    experiment: Experiment
    spans: int
    new: int


@dataclass(frozen=True)
class Report:
    """What came of one file."""

    file: str
    name: str
    experiments: tuple[Brought, ...]
    skipped: int
    """Spans, records or torn lines that were not imported."""
    problems: tuple[Problem, ...]
    """What they were; the first `MOST_PROBLEMS` of them."""


def import_file(file: File, library: Library, name: str | None = None) -> Report:
    """Import one file into a library; see `import_spans`."""
    with source_of(file) as source:
        intake = Intake(source, library, name)
        try:
            for frame in read_frames(source.stream, on_skip=intake.skip, batch=BATCH):
                intake.take(frame)
            return intake.finished()
        except StoreUnreachable as error:
            raise StoreUnreachable(f"{error} {intake.left_behind()}") from error


class Intake:
    """Takes the rows of one source. Rows come first and records last, so that a crash leaves nothing half declared."""

    def __init__(self, source: Source, library: Library, name: str | None) -> None:
        self._source = source
        self._library = library
        self._name = name or source.name
        self._shares: dict[str, Share] = {}
        self._waiting: list[pl.DataFrame] = []
        """Score rows whose span may name an experiment further down the file."""
        self._has_sent = False
        """Whether rows were given to the store; one that then went away may have taken them."""
        self._skipped = 0
        self._problems: list[Problem] = []

    def skip(self, skipped: Skipped) -> None:
        """Note what could not be read."""
        self._note(skipped.line, skipped.reason, skipped.records)

    def _note(self, line: int | None, reason: str, records: int) -> None:
        self._skipped += max(records, 1)
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(Problem(self._source.label, line, reason, records))

    def left_behind(self) -> str:
        """What there is of the file in a store that went away, and what to do."""
        there = "Some of its spans may be stored already" if self._has_sent else "Nothing of it was stored"
        return (
            f"{self._source.label} was not imported. {there}: import it again when the store answers; "
            "what is there already stays as it is."
        )

    def take(self, frame: pl.DataFrame) -> None:
        """Store a batch of RAW rows."""
        # An id that cannot be one is data of the span, not the name of a folder.
        is_id = pl.col("experiment_id").str.contains(_ID).fill_null(False)
        named = frame.with_columns(
            experiment_id=pl.when(is_id).then("experiment_id"),
            experiment_source=pl.when(is_id).then("experiment_source"),
        )
        waiting = named.filter(scores.is_homeless())
        if waiting.height:
            self._waiting.append(waiting)
            named = named.filter(~scores.is_homeless())
        self._store(named)

    def _store(self, frame: pl.DataFrame) -> None:
        """Store rows; those that name no experiment belong to the file's own."""
        owned = frame.with_columns(
            experiment_source=pl.when(pl.col("experiment_id").is_null())
            .then(pl.lit("import"))
            .otherwise("experiment_source"),
            experiment_id=pl.col("experiment_id").fill_null(self._source.experiment_id),
        )
        rows = semconv.normalise(owned.lazy()).select(names(STORED)).collect()
        for (experiment_id,), part in rows.group_by("experiment_id", maintain_order=True):
            self._append(str(experiment_id), part)

    def _append(self, experiment_id: str, rows: pl.DataFrame) -> None:
        share = self._shares.get(experiment_id)
        if share is None:
            share = self._shares[experiment_id] = Share(experiment_id, self._library, self._name)
        rows, refused = share.taken(rows)
        if refused:
            self._note(
                None, f"experiment {share.name!r} ({experiment_id}) is archived and takes no more spans", refused
            )
        table = rows.to_arrow(compat_level=None).combine_chunks()
        for batch in table.to_batches():
            self._has_sent = True
            self._library.store.append(batch)

    def finished(self) -> Report:
        """Store what waited, declare the experiments, and say what came of the file."""
        if self._waiting:
            self._store(scores.follow(pl.concat(self._waiting), self._library, list(self._shares)))
        origin = {
            "file": self._source.label,
            "bytes": self._source.bytes,
            "sha256": self._source.sha256,
            "skipped": self._skipped,
        }
        brought = [Brought(*share.declared(origin)) for share in self._shares.values()]
        return Report(self._source.label, self._name, tuple(brought), self._skipped, tuple(self._problems))
