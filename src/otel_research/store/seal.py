"""Journal segments to Parquet, outside the hot path; every step repeatable after a crash.

    convert     segment -> parquet/<segment>.parquet      temporary, fsync, rename
    declare     manifest/<n+1>.json names the file         create-only
    forget      unlink the journal file                    only now

A crash before `declare` leaves the journal file in force, one after it the Parquet file.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from otel_research.errors import StoreError
from otel_research.journal.reader import Counts
from otel_research.store import manifest, rows
from otel_research.store.files import make_folder, one_at_a_time, replacing, sweep
from otel_research.store.manifest import Manifest, Sealed
from otel_research.store.tail import SegmentFile, WriterTail, segment_files

if TYPE_CHECKING:
    import polars as pl

ROW_GROUP = 50_000
COMPRESSION_LEVEL = 6

Step = Callable[[str], None]
"""Called before each step with its name; the crash tests end the process there."""


def seal(
    folder: Path,
    *,
    is_growing: Callable[[SegmentFile], bool],
    is_final: Callable[[str], bool],
    forget: Callable[[SegmentFile], None] = lambda file: file.path.unlink(missing_ok=True),
    step: Step = lambda name: None,
) -> Manifest:
    """Seal every complete segment of an experiment's folder.

    `is_growing` says which segments are still written to; `is_final(writer)` whether the
    writer's open spans will never end, so that they become interrupted rows. `forget` removes a
    segment that is sealed.
    """

    def forget_it(file: SegmentFile) -> None:
        step("forget")
        forget(file)

    with one_at_a_time(folder):
        sweep(folder)
        _seal_all(folder, is_growing, is_final, forget_it, step)
    return manifest.latest(folder / "manifest")


def _seal_all(
    folder: Path,
    is_growing: Callable[[SegmentFile], bool],
    is_final: Callable[[str], bool],
    forget: Callable[[SegmentFile], None],
    step: Step,
) -> None:
    for writer, files in segment_files(folder / "journal").items():
        current = manifest.latest(folder / "manifest")
        done = current.names()
        for file in files:
            if file.name in done:
                forget(file)
        complete = [file for file in files if file.name not in done and not is_growing(file)]
        if complete:
            carried = current.carried(writer)
            _seal_writer(
                folder,
                complete,
                carried,
                is_last_final=len(complete) == _remaining(files, done) and is_final(writer),
                forget=forget,
                step=step,
            )


def _remaining(files: list[SegmentFile], done: set[str]) -> int:
    return sum(file.name not in done for file in files)


def _seal_writer(
    folder: Path,
    files: list[SegmentFile],
    carried: tuple[dict[str, Any], ...],
    *,
    is_last_final: bool,
    forget: Callable[[SegmentFile], None],
    step: Step,
) -> None:
    for file in files:
        tail = WriterTail(carried)
        tail.refresh([file])
        is_final = is_last_final and file is files[-1]
        spans = tail.ended().vstack(tail.interrupted()) if is_final else tail.ended()
        carried = () if is_final else tail.open_rows()
        step("convert")
        name, digest = write_parquet(folder / "parquet", file.name, spans)
        entry = Sealed(
            name=file.name,
            file=name,
            rows=spans.height,
            sha256=digest,
            writer=file.writer,
            counts=tail.contents.counts,
            damaged_bytes=sum(damage.length for damage in tail.contents.damage),
            carried=carried,
        )
        step("declare")
        manifest.update(folder / "manifest", lambda current, entry=entry: manifest.with_sealed(current, entry))  # type: ignore[misc]
        forget(file)


def write_parquet(folder: Path, name: str, frame: pl.DataFrame) -> tuple[str | None, str | None]:
    """(file name, sha256) of the rows, sorted by start; (None, None) for no rows."""
    if frame.is_empty():
        return None, None
    make_folder(folder)
    path = folder / f"{name}.parquet"
    with replacing(path) as temporary:
        _write(frame.sort("start_ns", maintain_order=True), temporary)
        digest = _sha256(temporary)
    return path.name, digest


def _write(frame: pl.DataFrame, path: Path) -> None:
    import polars as pl

    try:
        frame.write_parquet(
            path, compression="zstd", compression_level=COMPRESSION_LEVEL, row_group_size=ROW_GROUP, statistics=True
        )
    except pl.exceptions.PolarsError as error:
        # A disk that is full or fails; Polars keeps the system's error as text only.
        raise StoreError(f"cannot write {path.parent}: {error}") from error


def digest_of(part: pl.DataFrame) -> str:
    """32 hex digits of the rows: what names a batch."""
    content = io.BytesIO()
    part.rechunk().write_ipc(content)
    return hashlib.sha256(content.getbuffer()).hexdigest()[:32]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_distinct(folder: Path, rows_of: Callable[[Manifest], pl.LazyFrame]) -> bool:
    """Look once whether any two rows share an identity, and note it in the manifest if none do.

    What others add while it looks is in a later manifest, of which nothing is said.
    """
    current = manifest.latest(folder / "manifest")
    if not rows.is_distinct(rows_of(current)):
        return False
    if not current.is_distinct:
        manifest.update(
            folder / "manifest",
            lambda now: msgspec.structs.replace(now, is_distinct=now.sealed == current.sealed),
        )
    return True


def total_counts(current: Manifest) -> Counts:
    """What the sealed segments told, added up."""
    total = Counts()
    for entry in current.sealed:
        total.add(entry.counts)
    return total
