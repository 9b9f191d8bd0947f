"""One experiment that something is received for: its record, its journal, what was counted of it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import Any

import msgspec

from otel_research.capture import accounts
from otel_research.errors import StoreUnreachable, UnknownExperiment
from otel_research.experiments import UNASKED, ExperimentRecord
from otel_research.ingest.refusal import Refused
from otel_research.journal.frame import OTLP
from otel_research.journal.received import Received, encode
from otel_research.journal.segment import Segment
from otel_research.journal.writer import this_writer
from otel_research.store.library import Library
from otel_research.store.mirror import Mirror
from otel_research.store.presence import BEAT_SECONDS

ORIGIN = "receiver"
"""`environment["source"]` of experiments that a receiver has declared."""


def _us() -> dict[str, Any]:
    """What a record says of its receiver."""
    return {"source": ORIGIN, "is_shared": True, "writer": msgspec.to_builtins(this_writer())}


class Desk:
    """Journals what is received for one experiment. `take` is for one thread, the rest for the background."""

    def __init__(self, experiment_id: str, name: str, library: Library) -> None:
        self.experiment_id = experiment_id
        self._library = library
        self._rolled: list[Segment] = []
        self.record = self._declared(name)
        self.log = library.journal.open_log(experiment_id, self._rolled.append)
        self.log.introduce(self.record.name, self.record.tags)
        self.refused: Counter[str] = Counter()
        self.ended = 0
        self.interrupted = 0
        self.used_at = time.monotonic()
        self._saved: dict[str, Any] = {}
        self._beat_at = 0.0
        self.beat()

    def _declared(self, name: str) -> ExperimentRecord:
        """The experiment's record: somebody else's, or our own, which goes on where it had stopped."""
        try:
            known = self._library.get(self.experiment_id)
        except UnknownExperiment:
            known = None
        except StoreUnreachable:
            return self._unasked(name)
        if known is not None and known.state == "archived":
            raise Refused(400, f"experiment {known.name!r} ({known.id}) is archived and takes no more spans.")
        if known is not None and (known.state == "running" or known.environment.get("source") != ORIGIN):
            return known
        made = known or self._new(name)
        environment = {**made.environment, **_us()}
        runs = msgspec.structs.replace(
            made, state="running", ended_by=None, stopped_ns=None, content_hash=None, environment=environment
        )
        self._library.catalogue.put_experiment(runs)
        return runs

    def _new(self, name: str) -> ExperimentRecord:
        return ExperimentRecord(id=self.experiment_id, name=name, started_ns=time.time_ns(), environment=_us())

    def _unasked(self, name: str) -> ExperimentRecord:
        """The record of an experiment that may be known in a store that is away: ours, until that can be asked."""
        catalogue = self._library.catalogue
        if not isinstance(catalogue, Mirror):
            raise StoreUnreachable(f"{self._library.url} does not answer, and keeps its own records.")
        catalogue.put_unasked(self._new(name))
        return catalogue.get_experiment(self.experiment_id)

    def take(self, signal: str, body: bytes, ended: int, interrupted: int) -> None:
        """Journal a message: when this returns, no end of this process can lose it."""
        self.used_at = time.monotonic()
        self.log.append(OTLP, encode(Received(self.experiment_id, signal, ended, interrupted, body)))
        self.ended += ended
        self.interrupted += interrupted

    # -- in the background --------------------------------------------------------------------

    def has_gone(self) -> bool:
        """Whether somebody has deleted or archived the experiment meanwhile: what comes next begins anew, or is refused."""
        try:
            return self._library.catalogue.get_experiment(self.experiment_id).state == "archived"
        except UnknownExperiment:
            return True
        except StoreUnreachable:  # nobody knows, and what comes is kept here
            return False

    def tend(self) -> None:
        """Give a sign of life, keep the counts, bring it to a store that is fed, seal what is full."""
        if time.monotonic() >= self._beat_at:
            self.beat()
        self._save(is_final=False)
        feed = self._library.feed(self.experiment_id)
        if feed is not None and feed.try_deliver() and UNASKED in self.record.environment:
            self.record = self._declared(self.record.name)
        if self._finished():
            self._library.seal(self.experiment_id, is_over=False)

    def beat(self) -> None:
        """Say that this process still receives for the experiment."""
        self._beat_at = time.monotonic() + BEAT_SECONDS
        self._library.beat(self.experiment_id, self.log.writer)

    def _finished(self) -> bool:
        """Cut and sync the segments that are full; whether there were any."""
        count = 0
        while self._rolled:
            self._rolled.pop().finish()
            count += 1
        return count > 0

    def _save(self, *, is_final: bool) -> None:
        counts = {
            "writer": self.log.writer.name,
            "received": self.refused.total(),
            "lost_received": dict(self.refused),
        }
        if is_final:
            counts |= {"is_final": True, "framed_ends": self.ended, "started": self.interrupted}
        elif not self.refused:
            return
        if counts != self._saved:
            # A store that is away is told of them with the spans.
            with contextlib.suppress(StoreUnreachable):
                self._library.put_ledger(self.experiment_id, self.log.writer.name, counts)
            self._saved = counts

    def close(self) -> None:
        """Take no more: seal what came, and say so in the record where nobody else records the experiment."""
        self.log.close()
        self._finished()
        self._save(is_final=True)
        self._library.seal(self.experiment_id, is_over=True)
        self._library.leave(self.experiment_id, self.log.writer)
        record = self._library.get(self.experiment_id)
        if record.state == "archived" or (record.state == "running" and record.environment.get("source") != ORIGIN):
            return
        if record.state == "running" and self._library.journal.has_live_writer(self.experiment_id):
            return
        self._library.catalogue.put_experiment(self._stopped(record))

    def _stopped(self, record: ExperimentRecord) -> ExperimentRecord:
        from otel_research.spans.digest import content_hash

        ledger = accounts.of_experiment(self._library, record.id, is_running=False).to_dict()
        return msgspec.structs.replace(
            record,
            state="stopped",
            ended_by=record.ended_by or "user",
            stopped_ns=record.stopped_ns or time.time_ns(),
            content_hash=content_hash(self._library.scan(record.id)),
            ledger=ledger,
        )
