"""The catalogue of a store that is elsewhere: there where it answers, here until it does."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from otel_research.errors import StoreError, StoreUnreachable, UnknownExperiment
from otel_research.experiments import STAND_IN, UNASKED, ExperimentRecord
from otel_research.store.backlog import Backlog
from otel_research.store.base import Catalogue
from otel_research.store.catalogue import DiskCatalogue
from otel_research.store.files import make_folder

_logger = logging.getLogger("otel_research")


class Mirror:
    """Records and annotations in the remote catalogue; what it cannot take now waits in the local one.

    What a program does to its experiment succeeds whether or not the store answers: it is
    delivered with the spans. What nobody has begun here raises the store's error.
    """

    def __init__(self, local: DiskCatalogue, remote: Catalogue, destination: str) -> None:
        self._local = local
        self._remote = remote
        self._destination = destination
        self._has_logged = False

    def backlog(self, experiment_id: str) -> Backlog:
        """What waits of one experiment."""
        return Backlog(self._local.folder(experiment_id), self._destination)

    def put_experiment(self, record: ExperimentRecord, /) -> None:
        """Store or replace a record, there or, while that fails, here."""
        self._now_or_later(record.id, lambda: self._remote.put_experiment(record), lambda: self._put_here(record))

    def put_unasked(self, record: ExperimentRecord) -> None:
        """Keep the record of an experiment here that the remote could not be asked about; one that it has will count."""
        unasked = msgspec.structs.replace(record, environment={**record.environment, UNASKED: True})
        with self.backlog(record.id).alone():
            self._put_here(unasked)

    def waiting(self) -> list[ExperimentRecord]:
        """The records that the remote does not have yet, oldest first."""
        return [record for record in self._local.list_experiments() if self.backlog(record.id).is_record_waiting]

    def _put_here(self, record: ExperimentRecord) -> None:
        self._local.put_experiment(record)
        self.backlog(record.id).note_record()

    def annotate(self, experiment_id: str, note: dict[str, Any], /) -> None:
        """Append one annotation, there or, while that fails, here."""
        self._now_or_later(
            experiment_id,
            lambda: self._remote.annotate(experiment_id, note),
            lambda: self._annotate_here(experiment_id, note),
        )

    def _annotate_here(self, experiment_id: str, note: dict[str, Any]) -> None:
        make_folder(self._local.folder(experiment_id))
        self._local.annotate(experiment_id, note)

    def _now_or_later(self, experiment_id: str, now: Callable[[], None], later: Callable[[], None]) -> None:
        backlog = self.backlog(experiment_id)
        if not backlog.is_catalogue_waiting:
            try:
                now()
                return
            except StoreError as error:
                if not backlog.exists and not isinstance(error, StoreUnreachable):
                    raise
                self._complain(error)
        with backlog.alone():
            later()
            backlog.note_catalogue(is_waiting=True)

    def _complain(self, error: Exception) -> None:
        if not self._has_logged:
            self._has_logged = True
            _logger.warning("otel_research: %s It is kept here and delivered later.", error)

    def deliver(self, experiment_id: str) -> None:
        """Bring over what waits; the remote takes each annotation once. Raises the store's error.

        What is said meanwhile is brought too: the network is asked without the lock, and under it only looked again.
        """
        backlog, told = self.backlog(experiment_id), self._waiting(experiment_id)
        while True:
            self._bring(experiment_id, *told)
            with backlog.alone():
                now = self._waiting(experiment_id)
                if now == told:
                    backlog.note_catalogue(is_waiting=False)
                    return
            told = now

    def _waiting(self, experiment_id: str) -> tuple[ExperimentRecord | None, list[dict[str, Any]]]:
        """The record, where it waits, and the annotations that are here."""
        record = None
        # Where only annotations wait the local record is an old one: the destination may have a newer.
        if self.backlog(experiment_id).is_record_waiting:
            with contextlib.suppress(UnknownExperiment):  # deleted here meanwhile
                record = self._local.get_experiment(experiment_id)
        return record, self._local.annotations(experiment_id)

    def _bring(self, experiment_id: str, record: ExperimentRecord | None, notes: list[dict[str, Any]]) -> None:
        if record is not None:
            self._put_there(record)
        for note in notes:
            self._remote.annotate(experiment_id, note)

    def _put_there(self, record: ExperimentRecord) -> None:
        if record.environment.get("source") == STAND_IN or UNASKED in record.environment:
            with contextlib.suppress(UnknownExperiment):
                if self._remote.get_experiment(record.id).environment.get("source") != STAND_IN:
                    return  # somebody has declared it
        told = {key: value for key, value in record.environment.items() if key != UNASKED}
        self._remote.put_experiment(msgspec.structs.replace(record, environment=told))

    def get_experiment(self, experiment_id: str) -> ExperimentRecord:
        """The record: the local one while it waits, else the remote one."""
        if self.backlog(experiment_id).is_record_waiting:
            with contextlib.suppress(UnknownExperiment):
                return self._local.get_experiment(experiment_id)
        return self._remote.get_experiment(experiment_id)

    def list_experiments(self) -> list[ExperimentRecord]:
        """Every record, oldest first; those that wait here as they are here."""
        found = {record.id: record for record in self._remote.list_experiments()}
        found |= {record.id: record for record in self.waiting()}
        return sorted(found.values(), key=lambda record: (record.started_ns, record.id))

    def unreadable(self) -> list[str]:
        """What hides an experiment from the list: a sentence for each record that cannot be read, there or here.

        Where the remote does not answer, that is what hides them.
        """
        asked = getattr(self._remote, "unreadable", list)
        try:
            told: list[str] = asked()
        except StoreError as error:
            told = [str(error)]
        return [*told, *self._local.unreadable()]

    def delete_experiment(self, experiment_id: str) -> None:
        """Forget a record, there and here."""
        self._remote.delete_experiment(experiment_id)
        self._local.delete_experiment(experiment_id)

    def annotations(self, experiment_id: str) -> list[dict[str, Any]]:
        """Every annotation, in the order they were made; those that wait here come last."""
        found = self._remote.annotations(experiment_id)
        if self.backlog(experiment_id).is_catalogue_waiting:
            found += [note for note in self._local.annotations(experiment_id) if note not in found]
        return found
