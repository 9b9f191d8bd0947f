"""What is done with an experiment that has run: told to those who query its store, put into an archive."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from otel_research.store.base import Derived

if TYPE_CHECKING:
    from otel_research.handle import Experiment


def archive(
    experiment: Experiment, destination: str, path: str | Path | None, bucket: str | None, prefix: str | None
) -> str:
    """Put the whole experiment, sealed and verifiable, into one folder or S3 prefix; where that is.

    Of a running experiment it is a checkpoint; a stopped one becomes "archived".

    Args:
        experiment: what to archive.
        destination: "local" or "s3".
        path: the folder of a local archive; default: name and id in the working directory.
        bucket: of an S3 archive; access by the standard AWS variables.
        prefix: where in the bucket; default: "archives/" with name and id.

    Raises:
        ConfigurationError: the place is taken, or the arguments contradict each other.
        ArchiveError, StoreError: it cannot be written; nothing half is left.
    """
    from otel_research.archive.make import put
    from otel_research.numbers import subject_of

    place, seal = put(
        subject_of(experiment),
        lambda: experiment.ledger().to_dict(),
        destination=destination,
        path=path,
        bucket=bucket,
        prefix=prefix,
    )
    if experiment.record.state != "running":
        experiment._read_again()
        made = {"place": place, "seal": seal, "time_ns": time.time_ns()}
        archives = [*experiment.environment.get("archives", []), made]
        experiment._replace(state="archived", environment={**experiment.environment, "archives": archives})
    return place


def publish(experiment: Experiment) -> None:
    """Calls, their cost and what was counted, for a store that others read: what needs other rows and prices."""
    library = experiment.library
    library.publish(experiment.id)
    if isinstance(library.store, Derived):
        import polars as pl

        from otel_research import pricing
        from otel_research.spans.schema import DERIVED, IDENTITY, names

        calls = experiment.spans().filter(pl.col("is_call") | pl.col("excluded_because").is_not_null())
        found = calls.select(*IDENTITY, *names(DERIVED)).collect()
        library.store.put_derived(experiment.id, found, pricing.default().provenance)
