"""When deliveries are due: in the background, on a thread of its own, so that a slow store holds up nothing."""

from __future__ import annotations

import logging
import threading
import time

from otel_research.store.feed import Feed
from otel_research.store.library import Library

_RETRY_SECONDS = 0.2
_LOOK_SECONDS = 60.0
"""How often it looks for what others have left behind."""
_LAST_SECONDS = 5.0
"""How long a program stays for that at its end."""
_READ_SECONDS = 5.0
"""How long a reader waits for deliveries: it sees what waits here too."""

_logger = logging.getLogger("otel_research")


class Courier:
    """Delivers what one recorder's experiments have journaled; made anew in a forked child, which delivers nothing."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        # Protects the replacing of the table against another; a signal handler may come in the middle.
        self._changing = threading.RLock()
        # Replaced as a whole, so that the thread may walk it without a lock.
        self._feeds: dict[str, Feed] = {}
        self._libraries: dict[str, Library] = {}
        """Whose feeds they are."""
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_over = False
        self._has_looked = threading.Event()
        """Whether it was tried once to deliver what earlier processes left."""

    def take(self, experiment_id: str, writer: str, library: Library) -> None:
        """Deliver an experiment's spans from now on: what this process writes, and what nobody else brings."""
        feed = library.feed(experiment_id)
        if feed is None:
            return
        feed.claim(writer)
        with self._changing:
            self._libraries[experiment_id] = library
            self._feeds = {**self._feeds, experiment_id: feed}
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(library,), name="otel-research-feed", daemon=True)
            self._thread.start()

    def deliver(self, experiment_id: str) -> None:
        """Bring what is journaled of one experiment, now."""
        feed = self._feeds.get(experiment_id)  # once: the thread may drop it in between
        if feed is not None:
            deadline = time.monotonic() + _READ_SECONDS
            feed.try_deliver(now=True, deadline=deadline)

    def deliver_all(self, timeout: float) -> int:
        """The same for all, within `timeout` seconds; how many of the spans that ended before are still to be delivered."""
        deadline = time.monotonic() + timeout
        return sum(_delivered_by(feed, deadline) for feed in self._feeds.values())

    def _work(self, library: Library) -> None:
        look_again = 0.0
        while not self._is_over:
            if time.monotonic() >= look_again:
                self._bring_leftovers(library)
                look_again = time.monotonic() + _LOOK_SECONDS
            self._wake.wait(self._interval)
            self._wake.clear()
            for feed in list(self._feeds.values()):
                if not self._is_over and feed.exists:
                    feed.try_deliver()
            self._drop_finished()

    def _drop_finished(self) -> None:
        """A program may run thousands of experiments."""
        with self._changing:
            for experiment_id in [key for key, feed in self._feeds.items() if feed.is_finished]:
                self._libraries.pop(experiment_id).drop_feed(experiment_id)
            self._feeds = {key: feed for key, feed in self._feeds.items() if key in self._libraries}

    def _bring_leftovers(self, library: Library) -> None:
        """What earlier processes could not deliver, and what others on this machine leave behind when they are killed."""
        try:
            library.bring_leftovers(besides=self._feeds)
        except Exception as error:
            if not self._has_looked.is_set():
                _logger.warning("otel_research: what earlier runs left cannot be delivered now: %s", error)
        finally:
            self._has_looked.set()

    def close(self) -> None:
        """Let the thread end; a short program stays a moment for what an earlier one left."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._has_looked.wait(_LAST_SECONDS)
        self._is_over = True
        self._wake.set()


def _delivered_by(feed: Feed, deadline: float) -> int:
    """Try until everything that had ended has arrived or the time is over; how much has not.

    What ends meanwhile does not count: a program that never pauses would never be flushed.
    """
    while not feed.try_deliver(now=True, deadline=deadline):
        if time.monotonic() > deadline:
            return feed.pending()
        time.sleep(_RETRY_SECONDS)
    return 0
