"""`python -m otel_research.selftest NAME FOLDER PIPE`: a scenario's program, in this process."""

from __future__ import annotations

import sys
from pathlib import Path

from otel_research.selftest import named
from otel_research.selftest.scenario import Host

if __name__ == "__main__":
    name, folder, pipe = sys.argv[1:]
    named(name).program(Host(Path(folder), int(pipe)))
