"""Write, roll, sync, kill, cut the power, seal, read, in any order: nothing that was promised is missing."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import msgspec
import polars as pl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from segments import DEAD, EXPERIMENT, end, log_in, start

from otel_research.journal.frame import END, START
from otel_research.journal.log import Log
from otel_research.store import seal
from otel_research.store.disk import DiskStore

PAGE = 4096


class Journal(RuleBasedStateMachine):
    """One writer after another on one experiment; what each had synced when it died must be there."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.root = Path(tempfile.mkdtemp(prefix="journal-"))
        self.folder = self.root / EXPERIMENT / "journal"
        self.number = 0
        self.written: set[int] = set()
        self.gone: set[int] = set()
        """Written, and not there after a power cut: must never come back."""
        self.synced: set[int] = set()
        self.lives = 0
        self._open_log()

    def _open_log(self) -> None:
        self.lives += 1
        writer = msgspec.structs.replace(DEAD, token=f"{self.lives:08x}")
        self.log: Log = log_in(self.folder, writer, smallest=1 << 16, largest=1 << 16)
        self.log.introduce("e", ())

    def teardown(self) -> None:
        if hasattr(self, "root"):
            shutil.rmtree(self.root, ignore_errors=True)

    # -- what a process does ------------------------------------------------------------

    @rule(count=st.integers(1, 30), size=st.sampled_from([1, 100, 5000]))
    def write(self, count: int, size: int) -> None:
        for _ in range(count):
            self.log.append(START, start(self.number, "x" * size))
            self.log.append(END, end(self.number, "x" * size))
            self.written.add(self.number)
            self.number += 1

    @rule()
    def roll(self) -> None:
        self.log.roll()
        self.synced = set(self.written) - self.gone

    @rule()
    def sync(self) -> None:
        self.log.sync()
        self.synced = set(self.written) - self.gone

    # -- what becomes of it -------------------------------------------------------------

    @rule()
    def kill(self) -> None:
        """`kill -9`: what was written is in the files; the next process starts its own."""
        self._open_log()
        assert self._stored() == self.written - self.gone

    @rule()
    def cut_the_power(self) -> None:
        """Pages behind the last sync may or may not have reached the disk, each by itself."""
        live, durable = self.log._segment.name, self.log._synced_at
        for path in self.folder.glob("*.wal"):
            if path.stem == live:
                self._lose_pages(path, durable)
        self._open_log()
        stored = self._stored()
        assert self.synced <= stored <= self.written - self.gone
        self.gone = self.written - stored

    def _lose_pages(self, path: Path, durable: int) -> None:
        data = bytearray(path.read_bytes())
        if durable == 0 and self.random.random() < 0.5:
            path.unlink()  # the name of a file that was never synced may be lost too
            return
        for page in range(durable, len(data), PAGE):
            # The page that holds the last durable byte is on the disk as it was then, or as it is now.
            until = min(page + PAGE - page % PAGE, len(data))
            if self.random.random() < 0.5:
                data[page:until] = bytes(until - page)
        path.write_bytes(data)

    @rule(is_over=st.booleans())
    def compact(self, is_over: bool) -> None:
        """Seal what is complete: the live segment too, once it is rolled."""
        live = self.log._segment.name
        seal.seal(self.root / EXPERIMENT, is_growing=lambda file: file.name == live, is_final=lambda writer: True)

    @rule()
    def read(self) -> None:
        assert self._stored() == self.written - self.gone

    def _stored(self) -> set[int]:
        rows = DiskStore(self.root).scan(EXPERIMENT).filter(pl.col("status") != "interrupted").collect()
        numbers = rows["attributes"].str.json_path_match("$.number").cast(pl.Int64).to_list()
        assert len(numbers) == len(set(numbers)), "a row twice"
        return set(numbers)


Journal.TestCase.settings = settings(
    max_examples=6 * int(os.environ.get("TORTURE_ROUNDS", "4")), stateful_step_count=12, deadline=None
)
TestJournal = Journal.TestCase
