"""A shared folder on a network file system, as far as we can tell: which system calls touch it, and that no lock is needed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

import otel_research as otr

pytestmark = pytest.mark.once  # what a file system does
ON_NFS = """
import errno, fcntl
import otel_research.journal.segment as segment
segment.file_system = lambda path: "nfs4"
def refused(*arguments):
    raise OSError(errno.ENOLCK, "no locks here")
fcntl.lockf = fcntl.flock = refused
exp = otr.join_experiment(sys.argv[1])
for number in range(100):
    call()
"""
WATCHED = "trace=openat,mmap,flock,fcntl,rename,renameat,renameat2,ftruncate,pwrite64"


def test_a_shared_folder_without_locks_and_mappings(
    owner: TracerProvider, store: str, start: Callable[..., object], tmp_path: Path
) -> None:
    """On NFS spans are appended to one file per process: nothing is mapped for writing, no file has two writers, files
    appear whole by their names, and locks, which some servers refuse, are not needed for the numbers."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed; that plain appends give the same numbers is tested without it")
    exp = otr.start_experiment("on nfs")
    logs = [tmp_path / f"calls {number}" for number in range(2)]
    guests = [
        start(ON_NFS, exp.id, prefix=("strace", "-f", "-y", "-qq", "-o", str(log), "-e", WATCHED)) for log in logs
    ]
    for guest in guests:
        _, err = guest.communicate(timeout=60)  # type: ignore[attr-defined]
        assert guest.returncode == 0, err  # type: ignore[attr-defined]
    otr.stop_experiment(exp)
    assert exp.where({"name": "chat"}).spans().collect().height == 200
    ledger = exp.ledger()
    assert (ledger.stored, ledger.lost_total, ledger.duplicates, ledger.is_balanced) == (200, 0, 0, True)

    folder = store.removeprefix("disk:")
    calls = [[line for line in log.read_text().splitlines() if folder in line] for log in logs]
    written = [
        {name for line in one for name in re.findall(r'openat\(.*?"([^"]+\.wal)", O_(?:WRONLY|RDWR)', line)}
        for one in calls
    ]
    assert all(written), calls
    assert not written[0] & written[1]
    every = [line for one in calls for line in one]
    assert not [line for line in every if " mmap(" in line and "PROT_WRITE" in line and "MAP_SHARED" in line]
    assert not [line for line in every if " flock(" in line or "F_SETLK" in line]
    moved = [line for line in every if " rename" in line]
    assert moved
    assert all(re.search(r'/\.[^/"]+\.tmp"', line) for line in moved), moved
