"""Rules that the server evaluates: for every experiment that runs, whether or not somebody looks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from otel_research.dashboard.catalogue import Shelf
from otel_research.dashboard.pool import Pool

POLL_SECONDS = 2.0

_logger = logging.getLogger("otel_research")


class Sentinel:
    """One worker of its own, which is not let go: it remembers where each rule stands."""

    def __init__(self, shelf: Shelf, rules: Sequence[str], webhooks: Sequence[str]) -> None:
        self._shelf = shelf
        self._pool = Pool(shelf.opened_by)
        self._rules, self._webhooks = tuple(rules), tuple(webhooks)
        self._watched: set[str] = set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        failed = ""
        try:
            while True:
                try:
                    await self._look()
                    failed = ""
                except Exception as error:
                    # Whatever it was, the next look may succeed; alerts that end without a word would be worse.
                    if failed != (failed := f"{type(error).__name__}: {error}"):
                        _logger.warning("otel_research: the server's alert rules could not be evaluated: %s", failed)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            self._pool.close()

    async def _look(self) -> None:
        records = await asyncio.to_thread(self._shelf.records)
        running = {record.id for record in records if self._shelf.state(record) == "running"}
        # Once more those that are over now: their last spans, and that they are over.
        for experiment in sorted(running | self._watched):
            await self._pool.ask("alerts", "news", experiment=experiment, rules=self._rules, webhooks=self._webhooks)
        for experiment in self._watched - running:
            await self._pool.ask("alerts", "forget", experiment=experiment)
        self._watched = running
