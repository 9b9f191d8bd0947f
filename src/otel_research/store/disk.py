"""The default store: one folder per experiment, readable without us.

    <root>/<experiment id>/
        experiment.json             what was declared
        annotations.jsonl           scores, exclusions and amendments made later
        journal/<writer>-<n>.wal    spans as they end (crash-proof frames)
        parquet/<segment>.parquet   sealed segments, and batches that were appended
        manifest/<n>.json           which Parquet files count
        late/                       spans that ended after the experiment was stopped
        ledger/<writer>.json        what each process could not store
        alive/<process>             touched every 30 s while it records

Durability: `kill -9` loses nothing that `on_end` or `append` returned for; a power cut loses
at most the fsync interval.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_research.errors import StoreClosed, StoreError
from otel_research.journal.log import Closed, Log
from otel_research.journal.reader import Counts
from otel_research.journal.segment import Segment, open_file_segment
from otel_research.journal.writer import Writer
from otel_research.store import backlog, manifest, presence, rows, seal
from otel_research.store.by_offset import Cursor, Part, WriterFollower
from otel_research.store.catalogue import DiskCatalogue
from otel_research.store.files import make_folder, write_whole
from otel_research.store.tail import SegmentFile, WriterTail, segment_files, segment_name

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


_Tails = dict[tuple[str, str], tuple[int, WriterTail]]
"""(experiment, writer) -> (the manifest's number, what was read of the segments that it does not name)."""


class DiskStore(DiskCatalogue):
    """Spans in folders under `root`; any number of processes may write and read at once."""

    def __init__(self, root: str | Path, *, limit: int | None = None) -> None:
        super().__init__(Path(root).expanduser().absolute())
        self._limit = backlog.Limit(limit)
        self._is_closed = False
        self._tails: _Tails = {}
        # Protects the cached tails: one reader refreshes at a time.
        self._reading = threading.RLock()
        self._logs: dict[str, list[Log]] = {}
        self._followers: dict[tuple[str, str], WriterFollower] = {}
        self._taken_over: set[str] = set()
        """Writers of segments that were brought here from a second place: complete."""

    def __repr__(self) -> str:
        return f"DiskStore({str(self.root)!r})"

    @property
    def url(self) -> str:
        """The URL that names this store."""
        return f"disk:{self.root}"

    # -- the way in ---------------------------------------------------------------------

    def open_log(self, experiment_id: str, on_rolled: Closed | None = None, *, is_quarantine: bool = False) -> Log:
        """The journal of this process for one experiment; `on_rolled` gets each full segment.

        A quarantine takes late spans: kept beside the experiment, never part of it.
        """
        self._check_open()
        journal = self.folder(experiment_id) / ("late" if is_quarantine else "journal")

        def open_segment(writer: Writer, index: int, size: int) -> Segment:
            # A late span brings back no experiment that was deleted.
            if not journal.parent.exists() and (index > 0 or is_quarantine):
                raise OSError(errno.ENOENT, "the experiment's folder was removed", str(journal.parent))
            make_folder(journal)
            self._limit.check(journal, size)
            return open_file_segment(journal / segment_name(writer.name, index), size)

        log = Log(open_segment, on_rolled=on_rolled or Segment.finish)
        if not is_quarantine:
            self._logs.setdefault(experiment_id, []).append(log)
        return log

    def seal_off(self, experiment_id: str) -> None:
        """No more frames in the current segments of this process."""
        for log in self._logs.get(experiment_id, ()):
            log.roll()

    def take_over(self, experiment_id: str, other: DiskStore) -> None:
        """Bring home the segments that went to a second place, as far as there is room for them."""
        for files in segment_files(other.folder(experiment_id) / "journal").values():
            for file in files:
                if other._is_growing(experiment_id, file):
                    continue
                home = self.folder(experiment_id) / "journal" / file.path.name
                try:
                    make_folder(home.parent)
                    write_whole(home, file.path.read_bytes())
                except OSError:
                    return
                self._taken_over.add(file.writer)
                file.path.unlink(missing_ok=True)
        other.delete(experiment_id)
        with contextlib.suppress(OSError):
            other.folder(experiment_id).rmdir()

    def append(self, batch: pa.RecordBatch, /) -> None:
        """Store a batch as Parquet under the hash of its content; the same batch again changes nothing.

        Of one experiment all rows or none. A batch of several is refused whole where an id cannot be
        one or a file cannot be written; only a failure between their manifests leaves some of them
        stored, and the same batch again then stores the rest.
        """
        import polars as pl

        self._check_open()
        frame = pl.DataFrame(pl.from_arrow(batch))
        parts = [(self.folder(owner), part) for (owner,), part in frame.group_by("experiment_id", maintain_order=True)]
        try:
            for folder, entry in [(folder, self._written(folder, part)) for folder, part in parts]:
                manifest.update(folder / "manifest", functools.partial(manifest.with_sealed, entry=entry))
        except OSError as error:
            raise StoreError(f"cannot store a batch under {self.root}: {error.strerror or error}.") from error

    def _written(self, folder: Path, part: pl.DataFrame) -> manifest.Sealed:
        """The entry for rows whose file is written; it counts once the manifest has it."""
        name = f"batch-{seal.digest_of(part)}"
        known = [entry for entry in manifest.latest(folder / "manifest").sealed if entry.name == name]
        if known:
            return known[0]
        file, digest = seal.write_parquet(folder / "parquet", name, part)
        return manifest.Sealed(name=name, file=file, rows=part.height, sha256=digest)

    def seal(self, experiment_id: str, *, is_over: bool) -> None:
        """Turn this process's and dead processes' journal segments into Parquet.

        `is_over`: this process's open spans will not be waited for and become interrupted.
        """
        self.seal_off(experiment_id)
        own = self._own_writers(experiment_id)
        folder = self.folder(experiment_id)
        seal.seal(
            folder,
            is_growing=lambda file: self._is_growing(experiment_id, file),
            is_final=lambda writer: is_over if writer in own else True,
            forget=lambda file: presence.forget(file, is_ours=file.writer in own),
        )
        if is_over:
            seal.check_distinct(folder, functools.partial(self._sealed, experiment_id))

    def _own_writers(self, experiment_id: str) -> set[str]:
        return {log.writer.name for log in self._logs.get(experiment_id, ())} | self._taken_over

    def _is_growing(self, experiment_id: str, file: SegmentFile) -> bool:
        """Whether more frames may come: of this process's segments one, of others' all while the process lives."""
        if file.writer in self._own_writers(experiment_id):
            mine = [log for log in self._logs.get(experiment_id, ()) if log.writer.name == file.writer]
            return not all(log.has_left(file.number) for log in mine)
        return not presence.is_complete(file)

    # -- the way to another store ---------------------------------------------------------

    def since(self, experiment_id: str, writer: str, cursor: Cursor, /) -> Iterator[Part]:
        """One writer's rows behind the cursor, in the order they ended, in parts; the cursor behind each.

        The empty cursor is the beginning. The same cursor gives the same rows again, as long as
        they have not been let go. Reading on from where one has read costs only what is new.
        """
        folder = self.folder(experiment_id)
        if self._limit.was_reached(folder / "journal"):
            # The full segment of each log has to end, so that it can go when it is delivered.
            self.seal_off(experiment_id)
        current = manifest.latest(folder / "manifest")
        follower = self._followers.get((experiment_id, writer))
        if follower is None:
            follower = self._followers[experiment_id, writer] = WriterFollower(current.carried(writer))
        files = segment_files(folder / "journal").get(writer, [])
        for file in files:
            if file.name in current.names():
                file.path.unlink(missing_ok=True)
                continue
            is_growing, size = self._state_of(experiment_id, file, is_newest=file is files[-1])
            is_complete = False
            for part in follower.parts(file, cursor, is_growing=is_growing, size=size):
                yield part
                cursor, is_complete = part.cursor, part.is_last
            if not is_complete:
                return

    def _state_of(self, experiment_id: str, file: SegmentFile, *, is_newest: bool) -> tuple[bool, int | None]:
        """(whether it may still grow, the size that it has to be read to): of another process only its files tell."""
        is_growing = self._is_growing(experiment_id, file)
        if not is_growing or is_newest or file.writer in self._own_writers(experiment_id):
            return is_growing, None
        return False, file.path.stat().st_size

    def let_go(self, experiment_id: str, part: Part, /) -> None:
        """The destination has all of the segment that ends with this part: drop our copy, keep its counts."""
        folder = self.folder(experiment_id)
        if (entry := part.sealed) is not None:
            manifest.update(folder / "manifest", lambda current: manifest.with_sealed(current, entry))
            (folder / "journal" / f"{entry.name}.wal").unlink(missing_ok=True)

    def release(self, experiment_id: str) -> None:
        """Nobody reads on."""
        self._followers = {key: value for key, value in self._followers.items() if key[0] != experiment_id}

    # -- the way out --------------------------------------------------------------------

    def scan(self, experiment_id: str | None = None) -> pl.LazyFrame:
        """Every stored row once: sealed files and the live journal's tail."""
        import polars as pl

        self._check_open()
        if experiment_id is None:
            frames = [self.scan(known) for known in self._experiment_ids()]
            return pl.concat(frames) if frames else rows.nothing()
        found, is_distinct = self._found(experiment_id)
        return found if is_distinct else rows.once(found)

    def copies(self, experiment_id: str) -> pl.LazyFrame:
        """Every row as it lies there, second copies too."""
        return self._found(experiment_id)[0]

    def _found(self, experiment_id: str) -> tuple[pl.LazyFrame, bool]:
        """(the rows of sealed files and tails, whether they are known to be of one span each)."""
        import polars as pl

        while True:
            folder = self.folder(experiment_id)
            current = manifest.latest(folder / "manifest")
            sealed = self._sealed(experiment_id, current)
            tail = self._tail(experiment_id, current)
            # A segment that was sealed in between would be missing from both: look again.
            if manifest.latest(folder / "manifest").number == current.number:
                break
        if tail is None:
            return sealed, current.is_distinct
        return pl.concat([sealed, rows.as_stored(tail.lazy())]), False

    def _experiment_ids(self) -> list[str]:
        """Every experiment with rows, whether or not it has a record."""
        return sorted({path.parent.name for part in ("manifest", "journal") for path in self.root.glob(f"*/{part}")})

    def _sealed(self, experiment_id: str, current: manifest.Manifest | None = None) -> pl.LazyFrame:
        import polars as pl

        folder = self.folder(experiment_id)
        current = current or manifest.latest(folder / "manifest")
        files = [folder / "parquet" / entry.file for entry in current.sealed if entry.file]
        missing = [file.name for file in files if not file.exists()]
        if missing:
            raise StoreError(f"{folder}/parquet lacks {', '.join(missing[:3])}, which the manifest names.")
        if not files:
            return rows.nothing()
        return rows.as_stored(pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore"))

    def _tail(self, experiment_id: str, current: manifest.Manifest) -> pl.DataFrame | None:
        import polars as pl

        with self._reading:
            # Who interrupts this thread here (a signal handler that stops the experiment) reads afresh.
            tails, self._tails = self._tails, {}
            try:
                frames = [frame for frame in self._refreshed(experiment_id, current, tails) if frame.height]
            finally:
                self._tails = tails
        return pl.concat(frames, rechunk=False) if frames else None

    def _refreshed(self, experiment_id: str, current: manifest.Manifest, tails: _Tails) -> Iterator[pl.DataFrame]:
        done = current.names()
        for writer, files in segment_files(self.folder(experiment_id) / "journal").items():
            unsealed = [file for file in files if file.name not in done]
            if not unsealed:
                continue
            number, tail = tails.get((experiment_id, writer), (-1, None))
            if tail is None or number != current.number or tail.is_ahead_of(unsealed):
                tail = WriterTail(current.carried(writer))
                tails[experiment_id, writer] = current.number, tail
            tail.refresh(unsealed)
            yield tail.ended()
            if tail.open_count and _has_gone(tail, unsealed):
                yield tail.interrupted()

    def counts(self, experiment_id: str) -> tuple[Counts, int]:
        """(what all frames tell, spans that are open and no row yet) over sealed segments and the tail."""
        folder = self.folder(experiment_id)
        current = manifest.latest(folder / "manifest")
        total, tails = seal.total_counts(current), self._current_tails(experiment_id, current)
        for tail in tails.values():
            total.add(tail.contents.counts)
        # What a sealed segment left open is carried on by the writer's next one, where there is one.
        carried = sum(len(current.carried(writer)) for writer in current.writers() - set(tails))
        files = segment_files(folder / "journal")
        lasting = [tail for writer, tail in tails.items() if not _has_gone(tail, files.get(writer))]
        return total, carried + sum(tail.open_count for tail in lasting)

    def _current_tails(self, experiment_id: str, current: manifest.Manifest) -> dict[str, WriterTail]:
        """writer -> what is not sealed of it."""
        with self._reading:
            self._tail(experiment_id, current)
            return {
                writer: tail
                for (owner, writer), (number, tail) in self._tails.items()
                if owner == experiment_id and number == current.number
            }

    def counts_by_writer(self, experiment_id: str) -> dict[str, Counts]:
        """writer -> what its frames tell, as far as they have been followed or sealed."""
        found: dict[str, Counts] = {}
        current = manifest.latest(self.folder(experiment_id) / "manifest")
        for entry in current.sealed:
            if entry.writer is not None:
                found.setdefault(entry.writer, Counts()).add(entry.counts)
        for (owner, writer), follower in self._followers.items():
            if owner == experiment_id and follower.segment not in current.names():
                found.setdefault(writer, Counts()).add(follower.counts)
        return found

    def writers(self, experiment_id: str) -> set[str]:
        """Every process that has written frames here."""
        folder = self.folder(experiment_id)
        return manifest.latest(folder / "manifest").writers() | set(segment_files(folder / "journal"))

    def has_live_writer(self, experiment_id: str) -> bool:
        """Whether any process that wrote to the experiment may still run."""
        writers = segment_files(self.folder(experiment_id) / "journal").values()
        return any(not presence.is_complete(files[-1]) for files in writers)

    def beat(self, experiment_id: str, writer: Writer) -> bool:
        """This process still records the experiment; True where it had been taken for gone meanwhile."""
        folder = self.folder(experiment_id)
        presence.beat(folder, writer)
        return presence.take_back(folder, self._own_writers(experiment_id))

    def leave(self, experiment_id: str, writer: Writer) -> None:
        """This process records it no longer."""
        presence.leave(self.folder(experiment_id), writer)

    def is_gone(self, experiment_id: str, writer: Writer) -> bool:
        """Whether a process that recorded the experiment has gone without a word."""
        return presence.is_gone(self.folder(experiment_id), writer)

    def by_writer(self, experiment_id: str) -> dict[str, tuple[Counts, dict[str, Any]]]:
        """Every process that took part: what its frames tell, and what it counted beside them."""
        current = manifest.latest(self.folder(experiment_id) / "manifest")
        framed = [(entry.writer, entry.counts) for entry in current.sealed if entry.writer is not None]
        tails = self._current_tails(experiment_id, current)
        framed += [(writer, tail.contents.counts) for writer, tail in tails.items()]
        told = self.ledgers_by_writer(experiment_id)
        counts = {writer: Counts() for writer in (*told, *(writer for writer, _ in framed))}
        for writer, part in framed:
            counts[writer].add(part)
        return {writer: (counts[writer], told.get(writer, {})) for writer in sorted(counts)}

    # -- the end ------------------------------------------------------------------------

    def delete(self, experiment_id: str) -> None:
        """Forget an experiment's rows; its record stays until `delete_experiment`."""
        for part in ("journal", "late", "parquet", "manifest", "ledger", "feed", "alive"):
            shutil.rmtree(self.folder(experiment_id) / part, ignore_errors=True)
        self._tails = {key: value for key, value in self._tails.items() if key[0] != experiment_id}
        self.release(experiment_id)

    def close(self) -> None:
        """Release what is held. Idempotent."""
        self._is_closed = True
        self._tails.clear()
        self._logs.clear()

    def after_fork(self) -> None:
        """In the child: a reader in the parent may hold the lock. The logs' own forks are their captures'."""
        self._reading = threading.RLock()
        self._followers = {}

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosed(f"{self!r} is closed; make a new one or call otel_research.configure() again.")


def _has_gone(tail: WriterTail, files: list[SegmentFile] | None) -> bool:
    """Whether what is open in the tail will never end, because its process has gone."""
    return files is not None and presence.has_gone(tail.contents.writer, files[-1].path)


def default_root() -> Path:
    """Where experiments go when nothing is said: `.otel_research` in the working directory of now."""
    return Path(os.getcwd()) / ".otel_research"
