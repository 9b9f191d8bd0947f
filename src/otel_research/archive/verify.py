"""Every hash and every number of an archive again, offline, with nothing but its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from otel_research.archive import results, seal
from otel_research.archive.seal import MANIFEST, SEAL, Manifest
from otel_research.environment import installed_version
from otel_research.errors import ArchiveError

if TYPE_CHECKING:
    import polars as pl

_MOST = 20
"""Differences of one kind that are told."""


class Problem(NamedTuple):
    """What is wrong, and with which file."""

    file: str
    what: str


@dataclass(frozen=True)
class Verification:
    """What a check found."""

    path: str
    experiment_id: str | None
    name: str | None
    files: int
    rows: int
    seal: str | None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "path": self.path,
            "sound": self.is_sound,
            "experiment_id": self.experiment_id,
            "name": self.name,
            "files": self.files,
            "rows": self.rows,
            "seal": self.seal,
            "problems": [problem._asdict() for problem in self.problems],
            "notes": list(self.notes),
        }


def verify(folder: Path) -> Verification:
    """Check an archive's files against its seal, and derive its numbers again.

    Raises `ArchiveError` where the folder holds no archive, or one of a newer format.
    """
    told = Verification(str(folder), None, None, 0, 0, None)
    broken = _seal_problem(folder)
    try:
        manifest = seal.manifest_of(folder)
    except ArchiveError:
        if broken is None:
            raise
        return _with(told, broken)
    told = Verification(
        str(folder),
        manifest.experiment_id,
        manifest.name,
        len(manifest.files) + 2,
        manifest.rows,
        (folder / SEAL).read_text(errors="replace").split("\n")[0],
        notes=tuple(_notes(manifest)),
    )
    problems = [*([broken] if broken else []), *_file_problems(folder, manifest)]
    if not problems:
        problems = list(_derived_problems(folder, manifest))
    return _with(told, *problems)


def _with(told: Verification, *problems: Problem) -> Verification:
    from dataclasses import replace

    return replace(told, problems=problems)


def _seal_problem(folder: Path) -> Problem | None:
    """A damaged seal or manifest; the seal stands there twice, so that it is known which."""
    if not (folder / MANIFEST).is_file() or not (folder / SEAL).is_file():
        return None
    first, _, second = (folder / SEAL).read_text(errors="replace").rstrip("\n").partition("\n")
    content = (folder / MANIFEST).read_bytes()
    if first != second or len((folder / SEAL).read_bytes()) != 2 * 65:
        return Problem(SEAL, "was changed: its two lines differ or are not a hash")
    if hashlib.sha256(content).hexdigest() != first:
        return Problem(MANIFEST, "was changed: its SHA-256 is not the one in the seal")
    return None


def _file_problems(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    present = dict(seal.files_of(folder))
    for name, file in manifest.files.items():
        if name not in present:
            yield Problem(name, "is missing")
        elif (found := seal.described(present[name])) != file:
            size = "" if found.bytes == file.bytes else f" ({found.bytes} bytes instead of {file.bytes})"
            yield Problem(name, f"was changed: its SHA-256 is not the one in the manifest{size}")
    for name in present.keys() - manifest.files.keys():
        yield Problem(name, "does not belong to the archive")


def _notes(manifest: Manifest) -> Iterator[str]:
    if manifest.is_checkpoint:
        yield "a checkpoint: the experiment still ran"
    for erasure in manifest.erasures:
        yield f"{erasure['rows']} spans were erased ({erasure['what']}): {erasure['reason']}"
    if manifest.made_by != f"otel-research {installed_version()}":
        yield f"made by {manifest.made_by}, checked by otel-research {installed_version()}"


def _derived_problems(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """What the files tell does not agree."""
    import polars as pl

    from otel_research.spans.digest import content_hash

    spans = seal.read_spans(folder)
    found = spans.select(pl.len(), ended=(~pl.col("status").eq_missing("interrupted")).sum()).collect()
    rows, ended = found.row(0)
    if rows != manifest.rows:
        yield Problem("spans", f"has {rows} rows, the manifest says {manifest.rows}")
    if content_hash(spans) != manifest.content_hash:
        yield Problem("spans", "its content hash is not the one in the manifest")
    yield from _ledger_problems(folder, manifest, ended)
    yield from _column_problems(folder, spans)
    kept = msgspec.json.decode((folder / "results.json").read_bytes())
    lines = list(results.differences(kept, results.derived(results.subject_of(folder))))
    yield from (Problem("results.json", line) for line in lines[:_MOST])
    if len(lines) > _MOST:
        yield Problem("results.json", f"and {len(lines) - _MOST} more numbers differ")


def _ledger_problems(folder: Path, manifest: Manifest, ended: int) -> Iterator[Problem]:
    stored = msgspec.json.decode((folder / "ledger.json").read_bytes()).get("stored", ended)
    if stored < ended or (stored > ended and not manifest.is_checkpoint):
        yield Problem("ledger.json", f"says {stored} spans are stored, the archive has {ended} that ended")


def _column_problems(folder: Path, spans: pl.LazyFrame) -> Iterator[Problem]:
    """Canonical columns from the raw ones; calls and their cost from those and the kept prices."""
    import polars as pl

    from otel_research.pricing import kept, price
    from otel_research.semconv import calls, normalise
    from otel_research.spans.schema import ALL, RAW, names

    table = kept.again(msgspec.json.decode((folder / "prices.json").read_bytes()))
    there = set(spans.collect_schema().names())
    columns = [name for name in names(ALL) if name in there and name not in names(RAW)]
    again = price(calls.mark(normalise(spans.select(names(RAW)))), table).select(pl.col(columns).name.suffix(" again"))
    both = pl.concat([spans.select(columns), again], how="horizontal_extend")  # all of it keeps the order of rows
    differs = [(~pl.col(name).eq_missing(pl.col(f"{name} again"))).sum().alias(name) for name in columns]
    found = both.select(differs).collect(engine="streaming").row(0, named=True)
    for name, different in found.items():
        if different:
            yield Problem("spans", f"{different} values of {name} are not what the spans and prices give")
