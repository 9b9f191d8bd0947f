"""However a process ends, what it ended is stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import STARTED, run_code
from reading import left_in

SPANS = 300
WORK = f"host.calls(tracer, {SPANS})\n"


@pytest.mark.parametrize(
    ("how", "exit_code", "ended_by"),
    [
        ("pass", 0, "user"),
        ("raise ValueError('no')", 1, "user"),
        ("sys.exit(3)", 3, "user"),
        ("os._exit(4)", 4, "crash"),
        ("os.abort()", -6, "crash"),
        ("os.kill(os.getpid(), 15)", -15, "crash"),
        ("import signal; signal.signal(15, lambda *a: sys.exit(5)); os.kill(os.getpid(), 15)", 5, "user"),
        ("import signal; signal.signal(15, lambda *a: os._exit(6)); os.kill(os.getpid(), 15)", 6, "crash"),
        ("import threading; t = threading.Thread(target=sys.exit, args=(7,)); t.start(); t.join()", 0, "user"),
        ("import ctypes; ctypes.string_at(0)", -11, "crash"),
    ],
    ids=[
        "end of the program",
        "unhandled exception",
        "sys.exit",
        "os._exit",
        "abort",
        "SIGTERM",
        "SIGTERM handled by sys.exit",
        "SIGTERM handled by os._exit",
        "sys.exit in a thread",
        "segmentation fault",
    ],
)
def test_a_process_that_ends(tmp_path: Path, how: str, exit_code: int, ended_by: str) -> None:
    """Every span is stored, the one that is open is interrupted, the experiment says how it ended."""
    ran = run_code(STARTED + WORK + "open = tracer.start_span('open')\n" + how, tmp_path / "s")
    assert ran.exit_code == exit_code, ran.output
    left = left_in(tmp_path / "s")
    assert len(ran.said) == SPANS
    assert set(left.ended) == set(ran.said)
    assert (left.record.state, left.record.ended_by) == ("stopped", ended_by)
    assert left.rows.filter(left.rows["status"] == "interrupted")["name"].to_list() == ["open"]
    assert (left.ledger.stored, left.ledger.interrupted, left.ledger.lost_total) == (SPANS, 1, 0)
    assert left.ledger.is_balanced


DAEMONS = """
import threading, time
def work():
    while True:
        host.call(tracer)
        time.sleep(0.001)
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.5)
"""


def test_threads_at_work_when_the_interpreter_ends(tmp_path: Path) -> None:
    """What daemon threads end while the program leaves is stored, late, or (begun after the stop) outside: never lost."""
    ran = run_code(STARTED + DAEMONS, tmp_path / "s")
    assert ran.exit_code == 0, ran.output
    left = left_in(tmp_path / "s")
    assert left.record.ended_by == "user"
    assert len(left.ended) > 100
    # In the order in which they were said: all that is stored comes before all that came too late.
    stored = [span_id in set(left.ended) for span_id in ran.said]
    last_stored = len(stored) - stored[::-1].index(True)
    assert stored[: last_stored - 8].count(False) <= left.ledger.late
    assert left.ledger.lost_total == 0
    assert left.ledger.is_balanced


PRE_FORK = (
    STARTED
    + """
import signal, socket, time
WORKERS, REQUESTS = 4, 50
server = socket.create_server(("127.0.0.1", 0))

def worker():
    signal.signal(signal.SIGTERM, lambda *a: os._exit(0))
    while True:
        connection, _ = server.accept()
        with connection, tracer.start_as_current_span("request") as request:
            connection.recv(10)
            host.call(tracer)
        host.say(request.get_span_context().span_id)


children = []
for _ in range(WORKERS):
    child = os.fork()
    if child == 0:
        worker()
    children.append(child)
for _ in range(REQUESTS):
    with socket.create_connection(server.getsockname()) as client:
        client.sendall(b"GET /")
        client.recv(1)
time.sleep(0.2)
for child in children:
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
"""
)


def test_a_pre_forking_server(tmp_path: Path) -> None:
    """The master configures, workers serve and are ended by SIGTERM, as gunicorn does: every request is stored once."""
    ran = run_code(PRE_FORK, tmp_path / "s")
    assert ran.exit_code == 0, ran.output
    left = left_in(tmp_path / "s")
    assert len(ran.said) == 100
    assert sorted(left.ended) == sorted(ran.said)
    assert left.ledger.is_balanced
    assert left.ledger.lost_total == 0


SIXTEEN = (
    STARTED
    + """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(16) as pool:
    list(pool.map(lambda n: host.calls(tracer, 50), range(64)))
"""
)


def test_sixteen_executor_threads(tmp_path: Path) -> None:
    """Spans of 64 tasks on 16 threads are stored, each once."""
    ran = run_code(SIXTEEN, tmp_path / "s")
    assert ran.exit_code == 0, ran.output
    assert len(ran.said) == 3_200
    assert sorted(left_in(tmp_path / "s").ended) == sorted(ran.said)


CHAINED = (
    STARTED
    + """
host.calls(tracer, 10)
with tracer.start_as_current_span("across") as across:
    child = os.fork()
    if child == 0:
        host.calls(tracer, 10)
        grandchild = os.fork()
        if grandchild == 0:
            host.calls(tracer, 10)
            os._exit(0)
        os.waitpid(grandchild, 0)
        host.calls(tracer, 10)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    host.calls(tracer, 10)
host.say(across.get_span_context().span_id)
"""
)


def test_a_fork_of_a_fork(tmp_path: Path) -> None:
    """Children of children, one of them killed: every span is stored, the one open across both forks once."""
    ran = run_code(CHAINED, tmp_path / "s")
    assert ran.exit_code == 0, ran.output
    left = left_in(tmp_path / "s")
    assert len(ran.said) == 51
    assert sorted(left.ended) == sorted(ran.said)
    assert left.ledger.is_balanced
