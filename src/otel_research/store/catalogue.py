"""Experiment records on disk: `<root>/<id>/experiment.json`, `annotations.jsonl` and `ledger/`."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from otel_research.errors import StoreError, UnknownExperiment
from otel_research.experiments import ExperimentRecord, check_id
from otel_research.store.files import make_folder, write_whole
from otel_research.store.format_version import check_format_version

FORMAT_VERSION = 1
_logger = logging.getLogger("otel_research")


class DiskCatalogue:
    """The `Catalogue` of the disk store, and of every store that has none of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._unwritten_ledgers: dict[str, dict[str, dict[str, Any]]] = {}
        self._damaged_ledgers: set[Path] = set()
        """Those that were named already."""

    def folder(self, experiment_id: str) -> Path:
        """The experiment's folder; the id is checked, because it becomes a path."""
        return self.root / check_id(experiment_id)

    def put_experiment(self, record: ExperimentRecord, /) -> None:
        """Store or replace a record, atomically."""
        folder = self.folder(record.id)
        try:
            make_folder(folder)
            write_whole(folder / "experiment.json", msgspec.json.format(msgspec.json.encode(record), indent=2))
        except OSError as error:
            raise StoreError(
                f"cannot write the experiment {record.name!r} under {self.root}: {error.strerror or error}. "
                "Choose another place with store='disk:PATH' or OTEL_RESEARCH_STORE."
            ) from error

    def get_experiment(self, experiment_id: str) -> ExperimentRecord:
        """The record; raises `UnknownExperiment`."""
        path = self.folder(experiment_id) / "experiment.json"
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise UnknownExperiment(
                f"no experiment {experiment_id} in {self.root}. `otel-research ls` lists those that are there."
            ) from None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}.") from error
        return decoded(data, path)

    def list_experiments(self) -> list[ExperimentRecord]:
        """Every readable record, oldest first; a folder without a record is not one."""
        return sorted(self._read()[0], key=lambda record: (record.started_ns, record.id))

    def unreadable(self) -> list[str]:
        """What hides an experiment from the list: a sentence for each record that cannot be read."""
        return self._read()[1]

    def _read(self) -> tuple[list[ExperimentRecord], list[str]]:
        found, troubles = [], []
        for path in sorted(self.root.glob("*/experiment.json")):
            try:
                found.append((path, path.read_bytes()))
            except FileNotFoundError:
                continue  # deleted meanwhile
            except OSError as error:
                troubles.append(f"{path} cannot be read: {error.strerror or error}.")
        records, unread = readable(found)
        return records, troubles + unread

    def delete_experiment(self, experiment_id: str) -> None:
        """Forget a record and everything beside it."""
        shutil.rmtree(self.folder(experiment_id), ignore_errors=True)

    def annotate(self, experiment_id: str, note: dict[str, Any], /) -> None:
        """Append one line, durably; several processes may append at once."""
        folder = self.folder(experiment_id)
        line = msgspec.json.encode(note) + b"\n"
        handle = os.open(folder / "annotations.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line  # a crash has torn the last one
            if os.write(handle, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
            os.fsync(handle)
        finally:
            os.close(handle)

    def annotations(self, experiment_id: str) -> list[dict[str, Any]]:
        """Every annotation, in the order they were made; a torn last line is not one yet."""
        return list(_lines(self.folder(experiment_id) / "annotations.jsonl"))

    # -- ledgers ------------------------------------------------------------------------

    def put_ledger(self, experiment_id: str, writer: str, counts: dict[str, Any]) -> None:
        """Keep what one process counted beside its frames: losses, late spans, errors.

        What cannot be written (a full disk is what many losses come from) counts here all the same.
        """
        self._unwritten_ledgers.setdefault(experiment_id, {})[writer] = counts
        folder = self.folder(experiment_id) / "ledger"
        make_folder(folder)
        write_whole(folder / f"{writer}.json", msgspec.json.encode(counts))
        self._unwritten_ledgers[experiment_id].pop(writer, None)

    def ledgers(self, experiment_id: str) -> list[dict[str, Any]]:
        """What every process counted."""
        return list(self.ledgers_by_writer(experiment_id).values())

    def ledgers_by_writer(self, experiment_id: str) -> dict[str, dict[str, Any]]:
        """writer -> what it counted."""
        paths = sorted((self.folder(experiment_id) / "ledger").glob("*.json"))
        found = {path.stem: counts for path in paths if (counts := self._counts_in(path)) is not None}
        return {**found, **self._unwritten_ledgers.get(experiment_id, {})}

    def _counts_in(self, path: Path) -> dict[str, Any] | None:
        """What one process counted; a damaged file is named, and does not hide the others."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            if path not in self._damaged_ledgers:
                self._damaged_ledgers.add(path)
                _logger.warning(
                    "otel_research: %s cannot be read, so what that process counted is missing: %s", path, error
                )
        return None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(msgspec.DecodeError):
            yield msgspec.json.decode(line)


def readable(found: Iterable[tuple[Path | str, bytes]]) -> tuple[list[ExperimentRecord], list[str]]:
    """(the records among (where, JSON) that can be read, a sentence for each other): one must not hide the rest."""
    records, troubles = [], []
    for where, data in found:
        try:
            records.append(decoded(data, where))
        except StoreError as error:
            troubles.append(str(error))
    return records, troubles


def decoded(data: bytes, path: Path | str) -> ExperimentRecord:
    """The record that JSON holds; `path` says where, for the error of one that cannot be read."""
    check_format_version(data, path, FORMAT_VERSION)
    try:
        return msgspec.json.decode(data, type=ExperimentRecord)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StoreError(f"{path} is not a readable experiment record: {error}.") from error
