"""The thread that brings spans elsewhere, beside those who ask it to hurry."""

from __future__ import annotations

from typing import Any

from otel_research.capture.courier import Courier


class Dropped(dict[str, Any]):
    """The table of feeds at the moment in which the thread replaces it: seen by who asks, gone when it is opened."""

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        return default


def test_a_feed_that_is_dropped_while_one_asks_for_it_is_no_error() -> None:
    """Everything has arrived then: nothing is left to deliver."""
    courier = Courier(1.0)
    courier._feeds = Dropped()
    courier.deliver("e" * 32)
