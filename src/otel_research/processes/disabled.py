"""`OTEL_RESEARCH_DISABLED`: the same calls, and nothing is recorded."""

from __future__ import annotations

import functools
import logging
from typing import Any

from opentelemetry.trace import NoOpTracerProvider

from otel_research.capture.content import Policy
from otel_research.capture.experiment import ExperimentCapture
from otel_research.experiments import ExperimentRecord
from otel_research.recorder import Recorder
from otel_research.settings import Settings
from otel_research.store.base import Store
from otel_research.store.library import Library

_logger = logging.getLogger("otel_research")


class DisabledRecorder(Recorder):
    """Touches no provider, no file and no network; experiments live in memory, empty, until the process ends."""

    def __init__(self, settings: Settings) -> None:
        self._prepare(settings, Library("memory:"))
        _say_once()

    @functools.cached_property
    def provider(self) -> NoOpTracerProvider:
        """One that makes no spans."""
        return NoOpTracerProvider()

    @property
    def is_own_provider(self) -> bool:
        """It is nobody's."""
        return False

    def library_for(self, store: str | Store | None) -> Library:
        """The memory, whatever store is named."""
        return self.library

    def begin(
        self,
        record: ExperimentRecord,
        library: Library,
        rules: dict[str, Any],
        *,
        content: Policy | None = None,
        is_guest: bool = False,
    ) -> ExperimentCapture:
        """A capture that no span is sent to."""
        return self._made_capture(record, library, rules, content)

    def _detach(self) -> None:
        """Nothing was attached."""


@functools.cache
def _say_once() -> None:
    _logger.warning("otel_research: OTEL_RESEARCH_DISABLED is set: experiments run as usual, nothing is recorded.")
