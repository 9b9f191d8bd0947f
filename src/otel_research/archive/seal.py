"""The files of an archive, their hashes, and the seal over them.

manifest.json        every other file with size and SHA-256; what it is and who made it
SEAL                 SHA-256 of manifest.json, twice: a damaged seal is told from a damaged manifest
experiment.json      the record: what was declared, by whom, when
design.json          hypothesis, outcomes, margins, sample size, factors, seed
environment.json     machine, packages, command
ledger.json          what became of every span
annotations.jsonl    scores, exclusions and amendments made later
prices.json          the prices that were used
results.json         the numbers at the time of the archive
spans/*.parquet      every span, as `exp.spans()` gives it
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from otel_research.environment import installed_version
from otel_research.errors import ArchiveError
from otel_research.experiments import ExperimentRecord
from otel_research.store.files import private

if TYPE_CHECKING:
    import polars as pl

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SEAL = "SEAL"
PART_ROWS = 200_000
_DESIGN = (
    "hypothesis", "condition", "primary", "direction", "margin", "sample_size", "metrics", "study", "factors", "seed",
    "sampling_rate", "is_unweighted", "tags", "metadata",
)  # fmt: skip


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file as the manifest knows it."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive is and what belongs to it."""

    experiment_id: str
    name: str
    rows: int
    content_hash: str
    files: dict[str, File]
    is_checkpoint: bool = False
    """Made of an experiment that still ran."""
    made_ns: int = 0
    made_by: str = ""
    erasures: tuple[dict[str, Any], ...] = ()
    previous_seal: str | None = None
    """The seal that an erasure has broken on purpose."""
    format_version: int = FORMAT_VERSION


def encoded(value: Any) -> bytes:
    """JSON for people too."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def write_parts(folder: Path, record: ExperimentRecord, texts: Mapping[str, bytes]) -> None:
    """The files beside the spans."""
    private(folder / "experiment.json").write_bytes(encoded(record))
    private(folder / "design.json").write_bytes(encoded({name: getattr(record, name) for name in _DESIGN}))
    private(folder / "environment.json").write_bytes(encoded(record.environment))
    for name, content in texts.items():
        private(folder / name).write_bytes(content)


def write_spans(folder: Path, spans: pl.LazyFrame) -> int:
    """The spans, in files of at most `PART_ROWS` rows; how many rows."""
    (folder / "spans").mkdir(mode=0o700)
    rows, number = 0, 0
    for frame in spans.collect_batches(chunk_size=PART_ROWS, maintain_order=True):
        for part in frame.iter_slices(PART_ROWS):
            path = private(folder / "spans" / f"{number:05}.parquet")
            part.write_parquet(path, compression="zstd", statistics=True)
            rows, number = rows + part.height, number + 1
    if number == 0:
        spans.collect().write_parquet(private(folder / "spans" / "00000.parquet"))
    return rows


def read_spans(folder: Path) -> pl.LazyFrame:
    """The spans of an archive."""
    import polars as pl

    return pl.scan_parquet(sorted((folder / "spans").glob("*.parquet")))


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of every file that the manifest has to know."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (MANIFEST, SEAL):
            yield name, path


def described(path: Path) -> File:
    """Size and hash of a file."""
    with path.open("rb") as file:
        return File(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)


def close(folder: Path, manifest: Manifest) -> str:
    """Write manifest and seal over the files that are there; the seal."""
    whole = msgspec.structs.replace(
        manifest,
        files={name: described(path) for name, path in files_of(folder)},
        made_ns=time.time_ns(),
        made_by=f"otel-research {installed_version()}",
    )
    content = encoded(whole)
    seal = hashlib.sha256(content).hexdigest()
    private(folder / MANIFEST).write_bytes(content)
    private(folder / SEAL).write_text(f"{seal}\n{seal}\n")
    return seal


def manifest_of(folder: Path) -> Manifest:
    """The manifest of an archive; raises `ArchiveError` where there is none, or none that this version reads."""
    path = folder / MANIFEST
    if not path.is_file() or not (folder / SEAL).is_file():
        raise ArchiveError(f"{folder} is not a complete archive: it has no {MANIFEST if not path.is_file() else SEAL}.")
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{path} is damaged: {error}.") from error
    if found.format_version > FORMAT_VERSION:
        raise ArchiveError(
            f"{folder} was archived by a newer otel-research (format {found.format_version}, this version reads up to "
            f"{FORMAT_VERSION}). Upgrade: pip install -U otel-research."
        )
    return found
