"""One user's or session's spans out of an archive: with a record of it, and a new seal."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Any

import msgspec

from otel_research.archive import local, results, seal
from otel_research.archive.verify import verify
from otel_research.errors import ArchiveError, ConfigurationError
from otel_research.experiments import ExperimentRecord
from otel_research.store.files import private

WHO = ("user_id", "session_id", "conversation_id", "trace_id")
"""Columns that say whose spans they are."""


def erase(folder: Path, column: str, value: str, reason: str) -> dict[str, Any]:
    """Take out every trace that has a span of that user or session; the record of the erasure.

    Whole traces go, because the answers of a conversation stand in their other spans too. The record
    names whom only by a hash. Notes (scores, exclusions) about removed trials, and any that name the person, go too.
    The old files are removed; the archive's numbers are derived anew.
    """
    if column not in WHO:
        raise ConfigurationError(f"erase by one of {', '.join(WHO)}, not {column!r}.")
    if not reason.strip():
        raise ConfigurationError("an erasure needs a reason that a reader can judge.")
    folder = folder.expanduser().absolute()
    before = verify(folder)
    if not before.is_sound:
        first = before.problems[0]
        raise ArchiveError(f"{folder} is not changed, because it is damaged: {first.file} {first.what}.")
    with local.beside(folder) as fresh:
        erasure = _rewrite(folder, fresh, column, value, reason)
        if erasure["rows"]:
            local.replace(fresh, folder)
    return erasure


def _rewrite(folder: Path, fresh: Path, column: str, value: str, reason: str) -> dict[str, Any]:
    import polars as pl

    from otel_research.pricing import kept, price
    from otel_research.semconv import calls
    from otel_research.spans.digest import content_hash
    from otel_research.spans.schema import ALL, STORED, names

    manifest = seal.manifest_of(folder)
    spans = seal.read_spans(folder)
    theirs = spans.filter(pl.col(column) == value).select("trace_id").unique().collect()["trace_id"].implode()
    removed = spans.filter(pl.col("trace_id").is_in(theirs)).select("trace_id", "span_id", "trial_id").collect()
    gone_ids = {str(one) for column in removed.iter_columns() for one in column.drop_nulls()}
    rest = spans.filter(~pl.col("trace_id").is_in(theirs)).select(names(STORED))
    table = kept.again(msgspec.json.decode((folder / "prices.json").read_bytes()))
    rows = seal.write_spans(fresh, price(calls.mark(rest), table).select(names(ALL)))
    gone = manifest.rows - rows
    erasure = {
        "what": f"{column} with SHA-256 {hashlib.sha256(value.encode()).hexdigest()}",
        "rows": gone,
        "reason": reason,
        "time_ns": time.time_ns(),
    }
    left = seal.read_spans(fresh)
    hashed = content_hash(left)
    record = msgspec.json.decode((folder / "experiment.json").read_bytes(), type=ExperimentRecord)
    ended = left.select((~pl.col("status").eq_missing("interrupted")).sum()).collect().item()
    ledger = msgspec.json.decode((folder / "ledger.json").read_bytes())
    ledger |= {"stored": int(ended), "erased": ledger.get("erased", 0) + ledger["stored"] - int(ended)}
    seal.write_parts(
        fresh,
        msgspec.structs.replace(
            record, content_hash=hashed, session_id=None if record.session_id == value else record.session_id
        ),
        {
            "ledger.json": seal.encoded(ledger),
            "annotations.jsonl": _notes_left(folder, gone_ids, value),
            "prices.json": (folder / "prices.json").read_bytes(),
        },
    )
    private(fresh / "results.json").write_bytes(seal.encoded(results.derived(results.subject_of(fresh))))
    kept_before = (folder / seal.SEAL).read_text().split("\n")[0]
    seal.close(
        fresh,
        msgspec.structs.replace(
            manifest,
            rows=rows,
            content_hash=hashed,
            files={},
            erasures=(*manifest.erasures, erasure),
            previous_seal=kept_before,
        ),
    )
    return erasure


def _notes_left(folder: Path, gone_ids: set[str], value: str) -> bytes:
    """The notes without those about a removed trial, and without any that names the person."""
    lines = (folder / "annotations.jsonl").read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if not _is_about(msgspec.json.decode(line), gone_ids, value))


def _is_about(note: Any, gone_ids: set[str], value: str) -> bool:
    if isinstance(note, dict):
        return any(_is_about(one, gone_ids, value) for one in (*note.keys(), *note.values()))
    if isinstance(note, list):
        return any(_is_about(one, gone_ids, value) for one in note)
    return isinstance(note, str) and (
        note in gone_ids or re.search(rf"(?<!\w){re.escape(value)}(?!\w)", note) is not None
    )
