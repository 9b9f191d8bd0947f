"""A scenario's program in a process of its own; what it says on a pipe outlives it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from otel_research.selftest.scenario import ID_SIZE, Scenario

DEADLINE = 60.0
"""Seconds after which a program counts as hanging and is ended."""
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Ran:
    """How a program went."""

    said: list[int]
    """Ids of the spans that had ended."""
    exit_code: int
    output: str
    """What it printed, errors included."""


def run(scenario: Scenario, folder: Path, deadline: float = DEADLINE) -> Ran:
    """Run the scenario's program to its end, or to the kill.

    The pipe is read until every process that holds it has gone, so forked children count too.
    """
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "otel_research.selftest", scenario.name, str(folder), str(writing)]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            scenario.wrap(command, folder),
            env=_environment(),
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        os.close(writing)
        try:
            said = _read(reading, process, scenario.kill_after, time.monotonic() + deadline)
        finally:
            os.close(reading)
            with contextlib.suppress(ProcessLookupError):
                # Whatever still runs of it now hangs, or is an orphan.
                os.killpg(process.pid, signal.SIGKILL)
            exit_code = process.wait()
        output.seek(0)
        return Ran(said, exit_code, output.read().decode(errors="replace"))


def _read(pipe: int, process: subprocess.Popen[bytes], kill_after: int | None, deadline: float) -> list[int]:
    """The ids that the program says, until everybody who holds the pipe has gone or the time is over."""
    data = bytearray()
    while (left := deadline - time.monotonic()) > 0 and select.select([pipe], [], [], left)[0]:
        chunk = os.read(pipe, _CHUNK)
        data += chunk
        if not chunk:
            # It has closed its pipe; give it a moment to leave.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0))
            break
        if kill_after is not None and len(data) >= kill_after * ID_SIZE and process.poll() is None:
            process.kill()
            process.wait()
    return [int.from_bytes(data[at : at + ID_SIZE], "big") for at in range(0, len(data) - ID_SIZE + 1, ID_SIZE)]


def _environment() -> dict[str, str]:
    """Ours without what would configure the SDK or this package; the same modules are found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
