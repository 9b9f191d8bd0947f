"""`import_spans`: files in, experiments out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from otel_research import lifecycle
from otel_research.experiments import check_name
from otel_research.handle import Experiment
from otel_research.store.base import Store
from otel_research.store.library import Library

if TYPE_CHECKING:
    from otel_research.imports.intake import Report
    from otel_research.imports.source import File

_logger = logging.getLogger("otel_research")


def import_spans(*files: File, store: str | Store | None = None, name: str | None = None) -> list[Experiment]:
    """Import files of spans; the experiments they belong to, in the order of the files.

    Understood, by content: OTLP in JSON (also one request per line) and in protobuf, Phoenix spans,
    MLflow traces and Inspect logs, plain or gzip. The spans of a file are one experiment, whose id
    comes from the file's content, unless they name theirs (`experiment.id`). Importing the same
    spans again changes nothing. What cannot be read is logged and the rest is imported.

    Folders of a disk store (one experiment's or all) and journal segments (`.wal`), copied from
    other nodes, are merged instead, into a disk store: all processes' spans and ledgers become one
    experiment, in whatever order and however often they come.

    Args:
        files: paths or binary streams.
        store: where to; default: the recorder's store, else OTEL_RESEARCH_STORE, else "disk:.otel_research".
        name: of the new experiments; default: the file's name.

    Raises:
        ConfigurationError: a file cannot be opened, or the name cannot be one; nothing was imported then.
        StoreError: the store does not take the spans. A store that does not answer (`StoreUnreachable`) ends the
            import: the message names the file and says whether anything of it was stored; import it again later.
    """
    library = lifecycle._libraries()[0] if store is None else Library(store)
    found: dict[str, Experiment] = {}
    for report in import_files(files, library, name):
        if report.problems:
            first = report.problems[0]
            _logger.warning(
                "otel_research: %s: %d not imported, the first at line %s: %s",
                report.file,
                report.skipped,
                first.line,
                first.reason,
            )
        found |= {brought.experiment.id: brought.experiment for brought in report.experiments}
    return list(found.values())


def import_files(files: Sequence[File], library: Library, name: str | None = None) -> list[Report]:
    """Import every file, or none where one of them cannot be opened."""
    from otel_research.imports.intake import import_file
    from otel_research.imports.nodes import import_copy, is_copy
    from otel_research.imports.source import check_readable

    if name is not None:
        check_name(name)
    copies = {number for number, file in enumerate(files) if is_copy(file)}
    for number, file in enumerate(files):
        if number not in copies:
            check_readable(file)
    return [
        import_copy(cast(Any, file), library, name) if number in copies else import_file(file, library, name)
        for number, file in enumerate(files)
    ]
