"""Segments that take no more frames and are not known to be durable."""

from __future__ import annotations

import contextlib

from otel_research.journal.segment import Segment


class FullSegments(list[Segment]):
    """They are finished elsewhere, in the background; until then a sync of the log has to cover them."""

    def sync(self) -> OSError | None:
        """Forget those that are durable now; why one of them is not."""
        refusal = None
        for segment in tuple(self):
            try:
                segment.sync()
            except OSError as error:
                refusal = error
            else:
                with contextlib.suppress(ValueError):  # who interrupted us has done it too
                    self.remove(segment)
        return refusal
