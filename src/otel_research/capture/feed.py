"""From the local journal to a store that is elsewhere: idempotent, resumable, never on a span's way."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otel_research.errors import StoreError

if TYPE_CHECKING:
    import polars as pl

    from otel_research.store.library import Library

BATCH_ROWS = 10_000
_RETRY_SECONDS = 0.2

_logger = logging.getLogger("otel_research")


class Feeder:
    """Delivers one experiment's journaled rows to its store, in order, at least once.

    The store is idempotent, so a delivery that is repeated after a crash changes nothing.
    """

    def __init__(self, experiment_id: str, library: Library) -> None:
        self._experiment_id = experiment_id
        self._library = library
        self._delivered: set[tuple[str, str, str]] = set()
        # One delivery at a time: the background thread and a flush may meet.
        self._lock = threading.Lock()
        self._has_logged = False

    def deliver(self, deadline: float | None = None) -> int:
        """Bring over what is journaled and not yet delivered; how many rows are still pending.

        Without a deadline one attempt is made; with one, attempts go on until it.
        """
        with self._lock:
            while True:
                pending = self._attempt()
                if not pending or deadline is None or time.monotonic() > deadline:
                    return pending
                time.sleep(_RETRY_SECONDS)

    def _attempt(self) -> int:
        # Without it an instrumented driver's spans about our own writes would come back to be written.
        token = otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            return self._sent()
        finally:
            otel_context.detach(token)

    def _sent(self) -> int:
        """Send what is pending; how many rows could not be sent."""
        rows = self._pending_rows()
        sent = 0
        try:
            for part in rows.iter_slices(BATCH_ROWS):
                self._library.store.append(part.to_arrow(compat_level=None).combine_chunks().to_batches()[0])
                self._delivered.update(_keys(part))
                sent += part.height
        except Exception as error:
            self._complain(error)
        return rows.height - sent

    def _pending_rows(self) -> pl.DataFrame:
        import polars as pl

        journal = self._library.journal
        rows = journal.scan(self._experiment_id).collect()  # type: ignore[attr-defined]
        if not self._delivered or rows.is_empty():
            return rows  # type: ignore[no-any-return]
        known = pl.DataFrame(list(self._delivered), schema=["trace_id", "span_id", "status"], orient="row")
        return rows.join(known, on=["trace_id", "span_id", "status"], how="anti", maintain_order="left")  # type: ignore[no-any-return]

    def _complain(self, error: Exception) -> None:
        if not self._has_logged:
            self._has_logged = True
            kind = "" if isinstance(error, StoreError) else f"{type(error).__name__}: "
            _logger.warning(
                "otel_research: the store does not take spans now (%s%s). They stay in the local journal and are delivered later.",
                kind,
                error,
            )


def _keys(part: pl.DataFrame) -> list[tuple[str, str, str]]:
    return list(part.select("trace_id", "span_id", "status").iter_rows())
