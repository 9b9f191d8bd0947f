"""`opentelemetry_instrumentor`: the way from a configuration file to recording, `instrumentation/development`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from otel_research.hooks.asked import RECORDS, note
from otel_research.hooks.guard import swallowing
from otel_research.hooks.start import pre_instrument


class RunInstrumentor:
    """Begins recording; it has the methods of OpenTelemetry's instrumentors and needs none of their packages.

    `opentelemetry-instrument` instruments with everything that is installed, which asks for
    nothing. A file's `instrumentation/development` has our name in it, which does.
    """

    is_instrumented_by_opentelemetry = False

    def instrument(self, **options: Any) -> None:
        """Begin where it was asked for."""
        if "skip_dep_check" not in options:
            note(RECORDS[0])
        pre_instrument()

    @swallowing
    def uninstrument(self, **_: Any) -> None:
        """Close the recorder."""
        from otel_research import recorder

        made = recorder.current()
        if made is not None:
            made.close()

    def instrumentation_dependencies(self) -> Collection[str]:
        """None."""
        return ()
