"""What went to a second place is found by whoever opens the experiment later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import otel_research as otr
from otel_research.testing import recording

KILLED = """
import errno, os, signal, sys
import otel_research as otr
from opentelemetry import trace
otr.configure(f"disk:{sys.argv[1]}", overload="spill", spill=sys.argv[2])
exp = otr.start_experiment("spills")
tracer = trace.get_tracer("app")
tracer.start_span("at home").end()
def full(*_):
    raise OSError(errno.ENOSPC, "full")
log = exp._capture.log
log._opener._open_segment = full
log.roll()
for _ in range(5):
    tracer.start_span("elsewhere").end()
print(exp._capture.ledger().stored, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_later_process_finds_what_was_spilled(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    """It need not be told of the second place: the experiment's folder names it."""
    ran = run_python(KILLED, str(tmp_path / "home"), str(tmp_path / "second"))
    assert ran.stdout.strip() == "6", ran.stderr
    with recording(f"disk:{tmp_path / 'home'}"):
        (exp,) = otr.list_experiments()
        assert (exp.state, exp.ended_by) == ("stopped", "crash")
        assert sorted(exp.spans().collect()["name"]) == ["at home", *["elsewhere"] * 5]
        ledger = exp.ledger()
        assert (ledger.started, ledger.ended, ledger.stored, dict(ledger.lost)) == (6, 6, 6, {})
