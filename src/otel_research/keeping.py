"""What is done with an experiment that has run: stopped and sealed, told to those who query its store, archived."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from otel_research.spans.digest import content_hash
from otel_research.store import converting
from otel_research.store.base import Derived

if TYPE_CHECKING:
    from otel_research.handle import Experiment

_logger = logging.getLogger("otel_research")


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


def stopped_outside(experiment: Experiment, timeout: float) -> bool:
    """Say of one that other processes record that it is over, and wait until they know; whether none is left to seal it.

    Each says so in what it counts, where others read it. After `timeout` seconds it goes on without them.
    """
    experiment._replace(state="stopped", ended_by="user", stopped_ns=time.time_ns())
    library, deadline = experiment.library, time.monotonic() + timeout
    while (is_recorded := library.is_recorded(experiment.id)) and time.monotonic() < deadline:
        told = library.ledgers(experiment.id)
        if told and all(one.get("is_final") for one in told):
            return False
        time.sleep(0.05)
    return not is_recorded


def sealed(experiment: Experiment, *, stopped_ns: int) -> None:
    """Seal what is stored and set the record's last state."""
    experiment._look_once_more()
    # First, because it gives back what the open segment had taken in advance: the rest may need the room.
    experiment.library.seal(experiment.id)
    experiment._save_ledger()
    experiment._leave()
    if experiment.recorder is not None:
        experiment.recorder.delivered(experiment.id)
    experiment._read_again()
    # Who stopped it from outside has said when.
    if experiment._record.ended_by != "user":
        experiment._replace(state="stopped", ended_by="user", stopped_ns=stopped_ns)
    if not converting.is_safe:
        return
    try:
        whole = content_hash(experiment.library.scan(experiment.id))
        experiment._replace(content_hash=whole, ledger=experiment.ledger().to_dict())
        publish(experiment)
    except Exception as error:
        if not experiment.library.is_fed:
            raise
        # The spans are safe in the local journal; a store that is down must not end the program.
        _logger.warning("otel_research: the store cannot be read now, so %r has no content hash: %s", experiment, error)
    experiment._end_watch("stopped")


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
