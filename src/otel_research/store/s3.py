"""Spans in object storage: `s3://BUCKET/PREFIX`, with the disk store's layout.

    <prefix>/<experiment id>/
        experiment.json              the record
        annotations/<hash>.json      one object per note
        accounts/<writer>.json       what each process counted
        parquet/<hash>.parquet       rows, as they were delivered or merged from several deliveries
        manifest/<n>.json            which Parquet files count: create-only, the highest number wins

Durability: what `append` returned for is in the bucket. Several writers are safe, because a
manifest is created only where its number is free; a server that ignores that is refused.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from otel_research.errors import StoreClosed, UnknownExperiment
from otel_research.experiments import ExperimentRecord, check_id, is_id
from otel_research.store import manifest, rows, s3_compact
from otel_research.store.catalogue import decoded, readable
from otel_research.store.manifest import Manifest, Sealed
from otel_research.store.objects import Bucket, polars_options, split

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_NUMBER = re.compile(r"(\d+)\.json")
_ROW_GROUP = 50_000
"""Rows, sorted by start: a reader of a time range fetches only the groups it needs."""
_KEPT = 5
"""Manifests that stay: a reader may be about to open an older one."""


class S3Store:
    """Spans, records, annotations and counts below one prefix."""

    delivery_seconds = 10.0
    """Deliveries in the background wait this long: each is an object of its own."""

    def __init__(self, url: str) -> None:
        self._bucket = Bucket(*split(url))
        self.url = self._bucket.url
        self._is_closed = False
        self._is_checked = False
        self._unreadable: list[str] | None = None
        # Protects the check, which is made once.
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    # -- spans --------------------------------------------------------------------------

    def append(self, batch: pa.RecordBatch, /) -> None:
        """Upload the rows, then declare them; the same rows again change nothing."""
        import polars as pl

        self._check_open()
        frame = pl.DataFrame(pl.from_arrow(batch))
        for (experiment_id,), part in frame.group_by("experiment_id", maintain_order=True):
            self._append(check_id(str(experiment_id)), part.sort("start_ns", maintain_order=True))

    def _append(self, experiment_id: str, part: pl.DataFrame) -> None:
        content = io.BytesIO()
        part.rechunk().write_ipc(content)
        name = f"batch-{hashlib.sha256(content.getbuffer()).hexdigest()[:32]}"
        if name in self._latest(experiment_id).names():
            return
        entry = self._uploaded(experiment_id, name, part)
        current = self._update(experiment_id, lambda current: manifest.with_sealed(current, entry))
        self._compact(experiment_id, current, s3_compact.MANY)

    def _uploaded(self, experiment_id: str, name: str, part: pl.DataFrame) -> Sealed:
        file = io.BytesIO()
        part.write_parquet(file, compression="zstd", statistics=True, row_group_size=_ROW_GROUP)
        data = file.getvalue()
        self._bucket.put(f"{experiment_id}/parquet/{name}.parquet", data)
        digest = hashlib.sha256(data).hexdigest()
        return Sealed(name=name, file=f"{name}.parquet", rows=part.height, sha256=digest, size=len(data))

    # -- fewer objects --------------------------------------------------------------------

    def _compact(self, experiment_id: str, current: Manifest, at_least: int) -> None:
        """Merge small objects where there are so many, and remove what was replaced long ago."""
        for group in s3_compact.groups(current, at_least):
            self._merge(experiment_id, group)
        removed = s3_compact.due(current, time.time_ns())
        if removed:
            self._bucket.delete([f"{experiment_id}/parquet/{file}" for file in removed])
            self._update(experiment_id, lambda now: s3_compact.without(now, removed))

    def _merge(self, experiment_id: str, group: tuple[Sealed, ...]) -> None:
        found = rows.once(self._scanned(experiment_id, group)).collect()
        content = "".join(entry.name for entry in group)
        name = f"merged-{hashlib.sha256(content.encode()).hexdigest()[:32]}"
        merged = self._uploaded(experiment_id, name, found.sort("start_ns", maintain_order=True))
        latest = self._update(
            experiment_id, lambda current: s3_compact.with_merged(current, group, merged, time.time_ns())
        )
        if name not in latest.names() and merged.file not in latest.replaced:
            # Another writer has merged some of them into another object; nobody was told of ours.
            self._bucket.delete([f"{experiment_id}/parquet/{merged.file}"])

    def _numbers(self, experiment_id: str) -> list[int]:
        names = self._bucket.names(f"{experiment_id}/manifest")
        return sorted(int(found[1]) for name in names if (found := _NUMBER.fullmatch(name.rpartition("/")[2])))

    def _latest(self, experiment_id: str) -> Manifest:
        numbers = self._numbers(experiment_id)
        if not numbers:
            return Manifest()
        name = f"{experiment_id}/manifest/{numbers[-1]}.json"
        data = self._bucket.get(name)
        # Removed between the listing and now: there are newer ones.
        return self._latest(experiment_id) if data is None else manifest.decoded(data, f"{self.url}/{name}")

    def _update(self, experiment_id: str, change: Callable[[Manifest], Manifest]) -> Manifest:
        """Create the next manifest with the change, unless the latest has it; the one that has."""
        self._check_conditional()
        while True:
            current = self._latest(experiment_id)
            changed = change(current)
            if changed == current:
                return current
            following = msgspec.structs.replace(changed, number=current.number + 1)
            name = f"{experiment_id}/manifest/{following.number}.json"
            if self._bucket.create(name, msgspec.json.encode(following)):
                newest = self._latest(experiment_id)
                # The number may be one that faster writers had created and freed: then the newest lacks the change.
                if newest.number == following.number or change(newest) == newest:
                    self._forget_older(experiment_id, newest.number)
                    return newest

    def _forget_older(self, experiment_id: str, number: int) -> None:
        old = [known for known in self._numbers(experiment_id) if known <= number - _KEPT]
        self._bucket.delete([f"{experiment_id}/manifest/{known}.json" for known in old])

    def _check_conditional(self) -> None:
        with self._lock:
            if not self._is_checked:
                self._bucket.check_conditional()
                self._is_checked = True

    def scan(self, experiment_id: str | None = None) -> pl.LazyFrame:
        """Every stored row once; only the columns and row groups that are needed are fetched."""
        import polars as pl

        if experiment_id is None:
            frames = [self.scan(known) for known in self._bucket.folders() if is_id(known)]
            return pl.concat(frames) if frames else rows.nothing()
        current = self._latest(check_id(experiment_id))
        stored = self._scanned(experiment_id, current.sealed)
        return stored if current.is_distinct else rows.once(stored)

    def _scanned(self, experiment_id: str, sealed: Iterable[Sealed]) -> pl.LazyFrame:
        """The rows of these files as they lie there."""
        import polars as pl

        key = self._bucket.path(f"{experiment_id}/parquet")
        files = [f"s3://{self._bucket.bucket}/{key}/{entry.file}" for entry in sealed if entry.file]
        if not files:
            return rows.nothing()
        found = pl.scan_parquet(
            files, storage_options=polars_options(), missing_columns="insert", extra_columns="ignore"
        )
        return rows.as_stored(found)

    def settle(self, experiment_id: str) -> None:
        """Nothing more will come: merge what is small, and look once whether any row is there twice, so that readers need not."""
        self._compact(experiment_id, self._latest(experiment_id), 2)
        current = self._latest(experiment_id)
        if (
            not current.is_distinct
            and current.sealed
            and rows.is_distinct(self._scanned(experiment_id, current.sealed))
        ):
            self._update(
                experiment_id, lambda now: msgspec.structs.replace(now, is_distinct=now.sealed == current.sealed)
            )

    def delete(self, experiment_id: str) -> None:
        """Forget an experiment's rows and counts. The manifests go first, so that no reader sees half of it."""
        check_id(experiment_id)
        for part in ("manifest", "accounts", "parquet"):
            self._bucket.delete(self._bucket.names(f"{experiment_id}/{part}"))

    def close(self) -> None:
        """Refuse further spans. Idempotent."""
        self._is_closed = True

    def after_fork(self) -> None:
        """In the child: connections and threads are the parent's."""
        self._lock = threading.RLock()
        self._bucket = Bucket(self._bucket.bucket, self._bucket.prefix)

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosed(f"{self!r} is closed; make a new one or call otel_research.configure() again.")

    # -- the catalogue ------------------------------------------------------------------

    def put_experiment(self, record: ExperimentRecord, /) -> None:
        """Store or replace a record."""
        self._check_conditional()
        self._bucket.put(f"{check_id(record.id)}/experiment.json", msgspec.json.encode(record))

    def get_experiment(self, experiment_id: str) -> ExperimentRecord:
        """The record; raises `UnknownExperiment`."""
        name = f"{check_id(experiment_id)}/experiment.json"
        data = self._bucket.get(name)
        if data is None:
            raise UnknownExperiment(
                f"no experiment {experiment_id} in {self.url}. `otel-research ls` lists those that are there."
            )
        return decoded(data, f"{self.url}/{name}")

    def list_experiments(self) -> list[ExperimentRecord]:
        """Every readable record, oldest first."""
        names = [f"{known}/experiment.json" for known in self._bucket.folders() if is_id(known)]
        contents = [(f"{self.url}/{name}", self._bucket.get(name)) for name in names]
        found, self._unreadable = readable((where, data) for where, data in contents if data is not None)
        return sorted(found, key=lambda record: (record.started_ns, record.id))

    def unreadable(self) -> list[str]:
        """What hid an experiment from the last list, a sentence each: every record is an object to fetch."""
        if self._unreadable is None:
            self.list_experiments()
        return list(self._unreadable or ())

    def delete_experiment(self, experiment_id: str) -> None:
        """Forget a record and its annotations."""
        self._bucket.delete(self._bucket.names(check_id(experiment_id)))

    def annotate(self, experiment_id: str, note: dict[str, Any], /) -> None:
        """Append one annotation; the very same note again is the same one."""
        text = msgspec.json.encode(note)
        moment = note.get("time_ns", 0)
        name = f"{moment:020}-{hashlib.sha256(text).hexdigest()[:16]}"
        self._bucket.put(f"{check_id(experiment_id)}/annotations/{name}.json", text)

    def annotations(self, experiment_id: str) -> list[dict[str, Any]]:
        """Every annotation, in the order they were made."""
        contents = map(self._bucket.get, self._bucket.names(f"{check_id(experiment_id)}/annotations"))
        return [msgspec.json.decode(content) for content in contents if content is not None]

    def put_accounts(self, experiment_id: str, writer: str, counts: dict[str, Any], /) -> None:
        """Keep or replace what one process counted."""
        self._bucket.put(f"{check_id(experiment_id)}/accounts/{writer}.json", msgspec.json.encode(counts))

    def accounts(self, experiment_id: str) -> dict[str, dict[str, Any]]:
        """writer -> what it counted."""
        names = self._bucket.names(f"{check_id(experiment_id)}/accounts")
        contents = {name.rpartition("/")[2].removesuffix(".json"): self._bucket.get(name) for name in names}
        return {writer: msgspec.json.decode(found) for writer, found in contents.items() if found is not None}
