"""An experiment as an archive."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from otel_research.analysis.subject import Subject
from otel_research.archive import results, seal
from otel_research.errors import ConfigurationError
from otel_research.experiments import ExperimentRecord
from otel_research.store.files import private


def build(folder: Path, subject: Subject, ledger: Callable[[], Mapping[str, Any]], price_table: Any = None) -> str:
    """Write the archive's files into an empty folder; the seal.

    `ledger` is asked after the spans were read, so that of an experiment that still runs it tells
    of at least those.
    """
    from otel_research.pricing import kept, price
    from otel_research.semconv import calls
    from otel_research.spans.digest import content_hash
    from otel_research.spans.schema import ALL, STORED, names

    record = subject.record
    assert record is not None
    is_checkpoint = record.state == "running"
    with tempfile.TemporaryDirectory(prefix="otel-research-") as scratch:
        # The rows of one moment first: a store elsewhere may have more by the time calls are marked.
        rows = seal.write_spans(Path(scratch), subject.spans.select(names(STORED)))
        whole = price(calls.mark(seal.read_spans(Path(scratch))), price_table)
        seal.write_spans(folder, whole.select(names(ALL)))
    spans = seal.read_spans(folder)
    hashed = content_hash(spans)
    final = record if is_checkpoint else msgspec.structs.replace(record, state="archived", content_hash=hashed)
    lines = [msgspec.json.encode(note) + b"\n" for note in subject.annotations]
    texts = {
        "ledger.json": seal.encoded(dict(ledger())),
        "annotations.jsonl": b"".join(lines),
        "prices.json": seal.encoded(kept.used(spans, price_table)),
    }
    seal.write_parts(folder, final, texts)
    private(folder / "results.json").write_bytes(seal.encoded(results.derived(results.subject_of(folder))))
    return seal.close(
        folder,
        seal.Manifest(
            experiment_id=record.id,
            name=record.name,
            rows=rows,
            content_hash=hashed,
            files={},
            is_checkpoint=is_checkpoint,
        ),
    )


def put(
    subject: Subject,
    ledger: Callable[[], Mapping[str, Any]],
    *,
    destination: str = "local",
    path: str | Path | None = None,
    bucket: str | None = None,
    prefix: str | None = None,
) -> tuple[str, str]:
    """(where the archive is, its seal). Complete when this returns, absent where it raises."""
    record = subject.record
    assert record is not None
    if destination == "local":
        if bucket is not None or prefix is not None:
            raise ConfigurationError("bucket and prefix are for archive(destination='s3'); a local archive has a path.")
        from otel_research.archive import local

        return local.put(Path(path or stem(record)), lambda folder: build(folder, subject, ledger))
    if destination == "s3":
        if not bucket:
            raise ConfigurationError("archive(destination='s3') needs bucket='NAME'; prefix='PATH' is optional.")
        from otel_research.archive import s3

        where = f"{prefix.strip('/')}" if prefix else f"archives/{stem(record)}"
        return s3.put(bucket, where, lambda folder: build(folder, subject, ledger))
    raise ConfigurationError(f"destination={destination!r} is neither 'local' nor 's3'.")


def stem(record: ExperimentRecord) -> str:
    """A folder's name from an experiment's: its words and the beginning of its id."""
    words = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in record.name).strip("-")
    return f"{words or 'experiment'}-{record.id[:8]}.archive"
