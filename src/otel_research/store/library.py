"""A store together with its catalogue: find experiments, mend what a crash left, count."""

from __future__ import annotations

import logging
import time
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from otel_research.context import environment
from otel_research.errors import ExperimentRunning, StoreError, StoreUnreachable, UnknownExperiment
from otel_research.experiments import EndedBy, ExperimentRecord, has_tag
from otel_research.journal.writer import Writer
from otel_research.spans.digest import content_hash
from otel_research.store import converting, rows, spill
from otel_research.store.backlog import key_of
from otel_research.store.base import Accounts, Catalogue, Journaled, Store
from otel_research.store.feed import Feed, destination_of
from otel_research.store.mirror import Mirror
from otel_research.store.urls import open_store

if TYPE_CHECKING:
    import polars as pl

    from otel_research.journal.log import Log
    from otel_research.journal.reader import Counts

_logger = logging.getLogger("otel_research")


class Library:
    """Experiments of one store. Reading needs nothing else: no provider, no recorder."""

    def __init__(
        self, store: str | Store | None = None, *, local_root: Path | None = None, backlog: int | None = None
    ) -> None:
        self.store = open_store(store)
        self._limit = backlog
        self.journal = self._journal(local_root)
        """Where spans are journaled: the store itself, or a local disk that feeds it."""
        self._feeds: dict[str, Feed] = {}
        self.catalogue: Catalogue = self._catalogue(local_root)
        self.spill: Journaled | None = None
        """A second place, where spans go while there is no room in the first; part of every reading."""
        self._noted: dict[Path, Any] = {}
        """Second places of experiments that others have recorded, by their folder."""
        told = environment().get("spill")
        if told is not None:
            self.spill_to(Path(told))

    def _journal(self, local_root: Path | None) -> Journaled:
        return self.store if isinstance(self.store, Journaled) else self._local(local_root)

    def _catalogue(self, local_root: Path | None) -> Catalogue:
        if not isinstance(self.store, Catalogue):
            return self._local(local_root)  # type: ignore[no-any-return]
        if not self.is_fed:
            return self.store
        return Mirror(self._local(local_root), self.store, destination_of(self.store))

    def _local(self, local_root: Path | None) -> Any:
        from otel_research.store.disk import DiskStore, default_root

        existing = getattr(self, "_local_store", None)
        if existing is None:
            existing = self._local_store = DiskStore(local_root or default_root(), limit=self._limit)
        return existing

    @property
    def is_fed(self) -> bool:
        """Whether the store gets its spans from the local journal."""
        return not isinstance(self.store, Journaled)

    @property
    def url(self) -> str:
        """The store's URL, or the name of its type."""
        return getattr(self.store, "url", type(self.store).__name__)

    def get(self, experiment_id: str) -> ExperimentRecord:
        """The record; one whose processes died without a stop is marked stopped first."""
        return self._mended(self.catalogue.get_experiment(experiment_id))

    # -- a store that is fed ------------------------------------------------------------

    def feed(self, experiment_id: str) -> Feed | None:
        """What brings the experiment's spans from the local journal to the store; None where the store journals."""
        if not self.is_fed:
            return None
        # The first of two threads wins: there is one lock per experiment.
        return self._feeds.get(experiment_id) or self._feeds.setdefault(experiment_id, self._made_feed(experiment_id))

    def _made_feed(self, experiment_id: str) -> Feed:
        mirror = self.catalogue if isinstance(self.catalogue, Mirror) else None
        return Feed(experiment_id, self.journal, self.store, mirror)  # type: ignore[arg-type]

    def _any_feed(self, experiment_id: str) -> Feed:
        """One for a moment where there is none: asking keeps nothing of an experiment that is over."""
        return self._feeds.get(experiment_id) or self._made_feed(experiment_id)

    def publish(self, experiment_id: str) -> None:
        """Tell a store that is fed what was counted. Raises its error; then that waits like the rest."""
        if self.is_fed:
            self._any_feed(experiment_id).publish()

    def drop_feed(self, experiment_id: str) -> None:
        """Let go of a feed that has brought everything; who asks for it again gets a new one."""
        self._feeds.pop(experiment_id, None)

    def leftovers(self) -> list[str]:
        """Experiments of which spans, or what was said of them, may still be on their way to the store from here."""
        if not self.is_fed:
            return []
        key = key_of(destination_of(self.store))
        return [path.parents[1].name for path in self.journal.root.glob(f"*/feed/{key}")]  # type: ignore[attr-defined]

    def bring_leftovers(self, besides: Container[str] = ()) -> None:
        """Deliver what earlier processes could not, of every experiment but these. Raises where the store is away."""
        for waiting in self.leftovers():
            if waiting not in besides:
                self._bring(waiting)

    def _catch_up(self, record: ExperimentRecord) -> ExperimentRecord:
        """Deliver what an earlier process could not; where the store is still away it waits further."""
        if not self.is_fed or not self._any_feed(record.id).exists or (feed := self.feed(record.id)) is None:
            return record
        before = feed.sent
        has_arrived = feed.try_deliver(is_over=record.state != "running")
        if not has_arrived or feed.sent == before or record.state != "stopped" or record.content_hash is None:
            return record
        return self._rehashed(record)  # it was stopped before these rows were there

    def put_ledger(self, experiment_id: str, writer: str, counts: dict[str, Any]) -> None:
        """Keep what one process counted, also where other machines look for it."""
        self.journal.put_ledger(experiment_id, writer, counts)
        if self.is_fed and isinstance(self.store, Accounts):
            self.store.put_accounts(experiment_id, writer, counts)

    def ledgers(self, experiment_id: str) -> list[dict[str, Any]]:
        """What every process counted, on this machine and, as far as the store knows, on others."""
        return [*self.journal.ledgers(experiment_id), *self._elsewhere(experiment_id).values()]

    def by_writer(self, experiment_id: str) -> dict[str, tuple[Counts, dict[str, Any]]]:
        """The same by the name of the process, with what its frames tell."""
        from otel_research.journal.reader import Counts

        elsewhere = {
            writer: (msgspec.convert(told.get("frames", {}), Counts), told)
            for writer, told in self._elsewhere(experiment_id).items()
        }
        return {**self.journal.by_writer(experiment_id), **elsewhere}

    def _elsewhere(self, experiment_id: str) -> dict[str, dict[str, Any]]:
        """What processes counted whose frames are not on this machine, by their names."""
        if not self.is_fed or not isinstance(self.store, Accounts):
            return {}
        journal: Any = self.journal
        here = {*journal.ledgers_by_writer(experiment_id), *journal.writers(experiment_id)}
        return {writer: told for writer, told in self.store.accounts(experiment_id).items() if writer not in here}

    # -- finding ------------------------------------------------------------------------

    def unreadable(self) -> list[str]:
        """What hides experiments from `find`: a sentence for each record that cannot be read."""
        told = getattr(self.catalogue, "unreadable", None)
        return told() if callable(told) else []

    def find(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        tag: str | None = None,
        study: str | None = None,
        include_hidden: bool = False,
    ) -> list[ExperimentRecord]:
        """The records that match everything given, oldest first."""
        self.bring_leftovers()
        records = [self._mended_if_readable(record) for record in self.catalogue.list_experiments()]
        return [
            record
            for record in records
            if (include_hidden or not record.is_hidden)
            and (state is None or record.state == state)
            and (name is None or record.name == name)
            and (tag is None or has_tag(record.tags, tag))
            and (study is None or record.study == study)
        ]

    def _bring(self, experiment_id: str) -> None:
        """Deliver what waits here of one experiment; one whose record cannot be read must not hide the others."""
        try:
            self.get(experiment_id)
        except StoreUnreachable:
            raise
        except (UnknownExperiment, StoreError) as error:
            _logger.debug("otel_research: what waits here of experiment %s stays here: %s", experiment_id, error)

    def _mended_if_readable(self, record: ExperimentRecord) -> ExperimentRecord:
        """The record as it is where its journal cannot be read: one must not hide the others."""
        try:
            return self._mended(record)
        except StoreError as error:
            _logger.warning(
                "otel_research: experiment %r (%s) is shown as it was left: %s", record.name, record.id, error
            )
            return record

    def _mended(self, record: ExperimentRecord) -> ExperimentRecord:
        """A running experiment whose every process is dead has crashed: say so, seal what it left."""
        if not converting.is_safe:
            return record
        if record.state == "stopped" and record.content_hash is None and not self.is_fed:
            return self._completed(record)
        if record.state != "running" or self.is_recorded(record.id) or not self._is_abandoned(record):
            return self._catch_up(record)
        self.seal(record.id)
        # An experiment without an owner is over when its processes are, which is no crash.
        ended_by: EndedBy = "user" if record.environment.get("is_shared") else "crash"
        over = msgspec.structs.replace(record, state="stopped", ended_by=ended_by, stopped_ns=self._last_ns(record))
        self.catalogue.put_experiment(over)
        return over

    def _completed(self, record: ExperimentRecord) -> ExperimentRecord:
        """One that was stopped by a process that could not seal it: a forked child, or one that ran out of disk."""
        if self.is_recorded(record.id):
            return record
        self.seal(record.id)
        return self._rehashed(record)

    def _rehashed(self, record: ExperimentRecord) -> ExperimentRecord:
        whole = msgspec.structs.replace(record, content_hash=content_hash(self.scan(record.id)))
        self.catalogue.put_experiment(whole)
        return whole

    def _is_abandoned(self, record: ExperimentRecord) -> bool:
        """Whether the process that started it is known to be dead (it may not have written a span yet)."""
        owner = record.environment.get("writer")
        return owner is not None and self.journal.is_gone(record.id, msgspec.convert(owner, Writer))

    def beat(self, experiment_id: str, writer: Writer) -> None:
        """This process still records the experiment, also where another one has marked it as crashed."""
        came_back = [place.beat(experiment_id, writer) for place in self._places(experiment_id)]
        if not any(came_back):
            return
        record = self.catalogue.get_experiment(experiment_id)
        if record.ended_by == "crash":
            runs = msgspec.structs.replace(record, state="running", ended_by=None, stopped_ns=None)
            self.catalogue.put_experiment(runs)

    def leave(self, experiment_id: str, writer: Writer) -> None:
        """This process records it no longer."""
        for place in self._places(experiment_id):
            place.leave(experiment_id, writer)

    def _last_ns(self, record: ExperimentRecord) -> int:
        import polars as pl

        last = pl.max_horizontal("start_ns", "end_ns").max()
        try:
            found = self.scan(record.id).select(last).collect().item()
        except StoreError:
            # A store that is away: what is here tells of the same processes.
            found = self.journal.scan(record.id).select(last).collect().item()  # type: ignore[attr-defined]
        return int(found) if found is not None else time.time_ns()

    # -- the journal and what was spilled from it, as one ---------------------------------

    def spill_to(self, root: Path | None) -> None:
        """Use a folder as the second place. None: what was said before, and for a memory store the default folder."""
        from otel_research.store.disk import DiskStore, default_root

        if root is not None:
            self.spill = DiskStore(root)
        elif self.spill is None and not isinstance(self.journal, DiskStore):
            self.spill = DiskStore(default_root())

    def note_spill(self, experiment_id: str) -> None:
        """Write down where the experiment's spans may go, while there is room: who opens it later looks there too."""
        from otel_research.store.disk import DiskStore

        if isinstance(self.journal, DiskStore) and isinstance(self.spill, DiskStore):
            spill.note(self.journal.folder(experiment_id), self.spill.root)

    def _second_places(self, experiment_id: str) -> list[Any]:
        """Where its spans may have gone besides: what this process uses, and what the one that recorded it has noted."""
        from otel_research.store.disk import DiskStore

        found: Any = {} if self.spill is None else {self.spill.root: self.spill}  # type: ignore[attr-defined]
        if isinstance(self.journal, DiskStore):
            root = spill.noted(self.journal.folder(experiment_id))
            if root is not None:
                found.setdefault(root, self._noted.setdefault(root, DiskStore(root)))
        return [place for root, place in found.items() if (root / experiment_id / "journal").exists()]

    def open_spill(self, experiment_id: str) -> Log:
        """A log in the second place."""
        assert self.spill is not None
        return self.spill.open_log(experiment_id)

    def after_fork(self) -> None:
        """In the child: locks may be held by threads that are gone; what was claimed is the parent's."""
        self._feeds = {}
        for place in {id(place): place for place in (self.store, self.journal, self.spill)}.values():
            forked = getattr(place, "after_fork", None)
            if callable(forked):
                forked()

    def is_spilled(self, experiment_id: str) -> bool:
        """Whether spans of it lie in a second place."""
        return bool(self._second_places(experiment_id))

    def _places(self, experiment_id: str) -> list[Any]:
        return [self.journal, *self._second_places(experiment_id)]

    def is_recorded(self, experiment_id: str) -> bool:
        """Whether a process that records it, or has not sealed it yet, still runs."""
        return any(place.has_live_writer(experiment_id) for place in self._places(experiment_id))

    def seal(self, experiment_id: str, *, is_over: bool = True) -> None:
        """Turn what is journaled into columns; what was spilled comes home first, if there is room."""
        if not converting.is_safe:
            for place in self._places(experiment_id):
                place.seal_off(experiment_id)
            return
        self._bring_home(experiment_id)
        if self.is_fed and self._is_delivered(experiment_id, is_over=is_over):
            return
        for place in self._places(experiment_id):
            place.seal(experiment_id, is_over=is_over)

    def _is_delivered(self, experiment_id: str, *, is_over: bool) -> bool:
        """Whether the store has everything now, so that there is nothing to turn into columns here."""
        feed = self.feed(experiment_id)
        assert feed is not None
        self.journal.seal_off(experiment_id)
        return feed.try_deliver(is_over=is_over, now=True) and not feed.holds_rows

    def _bring_home(self, experiment_id: str) -> None:
        from otel_research.store.disk import DiskStore

        for place in self._places(experiment_id)[1:]:
            # Its open spans end at home, or never.
            place.seal_off(experiment_id)
            if isinstance(self.journal, DiskStore):
                self.journal.take_over(experiment_id, place)

    def counts(self, experiment_id: str) -> tuple[Counts, int]:
        """(what all frames tell, spans that are open and no row yet)."""
        from otel_research.journal.reader import Counts

        total, opened = Counts(), 0
        for place in self._places(experiment_id):
            told_here, open_here = place.counts(experiment_id)
            total.add(told_here)
            opened += open_here
        for told in self._elsewhere(experiment_id).values():
            total.add(msgspec.convert(told.get("frames", {}), Counts))
        return total, opened

    def have_all_left(self, experiment_id: str) -> bool:
        """Whether every process whose frames are here has said its last word on what it counted."""
        told = self.ledgers(experiment_id)
        final = {process.get("writer") for process in told if process.get("is_final")}
        writers = {writer for place in self._places(experiment_id) for writer in place.writers(experiment_id)}
        return len(final) == len(told) > 0 and writers <= final

    def copies(self, experiment_id: str) -> pl.LazyFrame | None:
        """Every row as it lies here, second copies too; None where rows lie in a store elsewhere, once each."""
        import polars as pl

        if self.is_fed:
            return None
        return pl.concat([rows.as_stored(place.copies(experiment_id)) for place in self._places(experiment_id)])

    def scan(self, experiment_id: str) -> pl.LazyFrame:
        """The experiment's stored rows: also those spilled, and those that a remote store does not have yet."""
        import polars as pl

        elsewhere = self._places(experiment_id)[1:]
        if self.is_fed and self._any_feed(experiment_id).holds_rows:
            elsewhere = [self.journal, *elsewhere]
        stored = self.store.scan(experiment_id)
        if not elsewhere:
            return stored
        frames = [stored, *(place.scan(experiment_id) for place in elsewhere)]
        return rows.once(pl.concat([rows.as_stored(frame) for frame in frames]))

    def delete(self, record: ExperimentRecord) -> None:
        """Forget an experiment: rows and record."""
        if record.state == "running":
            raise ExperimentRunning(f"experiment {record.name!r} ({record.id}) still runs; stop it first.")
        self.store.delete(record.id)
        if self.is_fed:
            self.journal.delete(record.id)  # type: ignore[attr-defined]
            self._feeds.pop(record.id, None)
        self.catalogue.delete_experiment(record.id)
