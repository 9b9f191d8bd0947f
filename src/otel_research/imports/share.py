"""What one file brings to one experiment: its rows, its record and its ledger."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import msgspec
import polars as pl

from otel_research.environment import installed_version
from otel_research.errors import ConfigurationError, UnknownExperiment
from otel_research.experiments import ExperimentRecord, check_name
from otel_research.handle import Experiment
from otel_research.spans.digest import content_hash
from otel_research.spans.schema import IDENTITY
from otel_research.store.library import Library

_MOST_RESOURCES = 20
"""Resources that the record names; of others it says how many there are, and every span keeps its own."""


class Share:
    """One experiment as a file knows it. An experiment that was there before keeps what it declared."""

    def __init__(self, experiment_id: str, library: Library, name: str) -> None:
        self._id = experiment_id
        self._library = library
        self._record = known_record(library, experiment_id)
        self._before = _count(library, experiment_id)
        self._name = name
        self._tags: tuple[str, ...] = ()
        self._received = 0
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._resources: list[dict[str, Any]] = []
        self._other_resources: set[str] = set()
        self._is_named = False

    @property
    def name(self) -> str:
        """What the experiment is called: as declared, as its spans say, else as the file is called."""
        return self._name if self._record is None else self._record.name

    def taken(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """(the rows to store, how many are refused): an archived experiment takes only what it has already."""
        if self._record is not None and self._record.state == "archived":
            stored = self._library.scan(self._id).select(IDENTITY).collect()
            return rows.clear(), rows.join(stored, on=list(IDENTITY), how="anti", nulls_equal=True).height
        self._learn(rows)
        return rows, 0

    def _learn(self, rows: pl.DataFrame) -> None:
        # Interrupted rows never ended, so no ledger counts them as stored.
        self._received += rows.height - int((rows["status"] == "interrupted").sum())
        times = rows.select(first=pl.col("start_ns").min(), last=pl.max_horizontal("start_ns", "end_ns").max())
        first, last = times.row(0)
        self._first_ns = min((time for time in (self._first_ns, first) if time is not None), default=None)
        self._last_ns = max((time for time in (self._last_ns, last) if time is not None), default=None)
        for text in rows["resource"].unique(maintain_order=True):
            self._learn_resource(text)
        if not self._is_named:
            self._learn_name(rows)

    def _learn_resource(self, text: str | None) -> None:
        found = _object(text)
        if not found or found in self._resources:
            return
        if len(self._resources) < _MOST_RESOURCES:
            self._resources.append(found)
        else:
            self._other_resources.add(str(text))

    def _learn_name(self, rows: pl.DataFrame) -> None:
        """The name and tags that the experiment's own spans carry."""
        told = rows.filter(pl.col("attributes").str.contains('"experiment.name"', literal=True)).head(1)
        if told.is_empty():
            return
        self._is_named = True
        attributes = _object(told["attributes"].item())
        # What cannot be a name or a tag (a path, text that UTF-8 cannot hold) stays in the spans.
        with suppress(ConfigurationError):
            self._name = check_name(attributes.get("experiment.name"))
        tags = attributes.get("experiment.tags")
        self._tags = tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()

    def declared(self, origin: dict[str, Any]) -> tuple[Experiment, int, int]:
        """(the experiment, its spans now, those that are new), with record and ledger brought up to date."""
        if self._received:
            # Under the file's own name: the same file again says the same.
            writer = f"import-{origin['sha256'][:32]}"
            self._library.put_ledger(self._id, writer, {"received": self._received})
        if self._record is None or self._record.state == "stopped":
            # First, because rows that are known to be distinct are cheap to count.
            self._library.journal.seal(self._id, is_over=True)
        stored = _count(self._library, self._id)
        new = stored - self._before
        if self._record is None or new:
            self._library.catalogue.put_experiment(self._sealed(self._declaration(origin)))
        return Experiment(self._library.get(self._id), self._library), stored, new

    def _declaration(self, origin: dict[str, Any]) -> ExperimentRecord:
        if self._record is None:
            first = time.time_ns() if self._first_ns is None else self._first_ns
            return ExperimentRecord(
                id=self._id,
                name=self._name,
                tags=self._tags,
                state="stopped",
                ended_by="user",
                started_ns=first,
                stopped_ns=first if self._last_ns is None else self._last_ns,
                environment={
                    "source": "import",
                    "imported": [origin],
                    "imported_by": f"otel-research {installed_version()}",
                    "resources": self._resources,
                    **({"resources_not_named": len(self._other_resources)} if self._other_resources else {}),
                },
            )
        earlier = [
            entry for entry in self._record.environment.get("imported", []) if entry["sha256"] != origin["sha256"]
        ]
        environment = {**self._record.environment, "imported": [*earlier, origin]}
        if environment.get("source") != "import" or self._record.stopped_ns is None:
            return msgspec.structs.replace(self._record, environment=environment)
        return msgspec.structs.replace(
            self._record,
            started_ns=min(self._record.started_ns, self._first_ns or self._record.started_ns),
            stopped_ns=max(self._record.stopped_ns, self._last_ns or self._record.stopped_ns),
            environment=environment,
        )

    def _sealed(self, record: ExperimentRecord) -> ExperimentRecord:
        """The record with hash and ledger of what is stored now; a running experiment gets those when it stops."""
        if record.state != "stopped":
            return record
        hashed = content_hash(self._library.scan(self._id))
        ledger = Experiment(record, self._library).ledger().to_dict()
        return msgspec.structs.replace(record, content_hash=hashed, ledger=ledger)


def known_record(library: Library, experiment_id: str) -> ExperimentRecord | None:
    """The record, if the store knows the experiment."""
    try:
        return library.get(experiment_id)
    except UnknownExperiment:
        return None


def _object(text: str | None) -> dict[str, Any]:
    """A JSON object as it is written, so that it can be written again; anything else says nothing."""
    try:
        found = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _count(library: Library, experiment_id: str) -> int:
    return int(library.scan(experiment_id).select(pl.len()).collect().item())
