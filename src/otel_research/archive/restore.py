"""An archive back into a store."""

from __future__ import annotations

from pathlib import Path

import msgspec

from otel_research.archive import results, seal
from otel_research.archive.verify import verify
from otel_research.errors import ArchiveError, ConfigurationError, UnknownExperiment
from otel_research.experiments import ExperimentRecord
from otel_research.store.library import Library

_ROWS = 20_000


def restore(folder: Path, library: Library) -> ExperimentRecord:
    """Put the archived experiment into the store, after checking the archive; its record there.

    Raises `ArchiveError` where the archive is damaged (nothing is stored then), and
    `ConfigurationError` where the store has other spans under that id.
    """
    import polars as pl

    from otel_research.spans.digest import content_hash
    from otel_research.spans.schema import STORED, names

    found = verify(folder)
    if not found.is_sound:
        first = found.problems[0]
        raise ArchiveError(f"{folder} is not restored: {first.file} {first.what}. `otel-research verify` tells all.")
    manifest, subject = seal.manifest_of(folder), results.subject_of(folder)
    record = subject.record
    assert record is not None
    _check_free(record, library, manifest.content_hash)
    kept = {**record.environment, "restored_from": str(folder)}
    record = msgspec.structs.replace(record, environment=kept, state="archived")
    for frame in seal.read_spans(folder).select(names(STORED)).collect_batches(chunk_size=_ROWS, maintain_order=True):
        for batch in frame.to_arrow(compat_level=None).combine_chunks().to_batches():
            library.store.append(batch)
    library.catalogue.put_experiment(record)
    known = library.catalogue.annotations(record.id)
    for note in subject.annotations:
        if note not in known:
            library.catalogue.annotate(record.id, note)
    ended = library.scan(record.id).select((~pl.col("status").eq_missing("interrupted")).sum()).collect().item()
    library.put_ledger(record.id, f"restored-{manifest.content_hash[:32]}", {"received": int(ended)})
    if content_hash(library.scan(record.id)) != manifest.content_hash:
        raise ArchiveError(f"{record.name!r} ({record.id}) in {library.url} is not what {folder} holds.")
    return record


def _check_free(record: ExperimentRecord, library: Library, content: str) -> None:
    """The id is free, or has these very spans."""
    from otel_research.spans.digest import content_hash

    try:
        library.catalogue.get_experiment(record.id)
    except UnknownExperiment:
        return
    if content_hash(library.scan(record.id)) != content:
        raise ConfigurationError(
            f"experiment {record.name!r} ({record.id}) is in {library.url} already, with other spans. "
            "Restore into another store: --store disk:PATH."
        )
