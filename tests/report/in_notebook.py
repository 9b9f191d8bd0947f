"""`exp.live()` in a notebook with a real kernel: run by `nox -s notebook`, which installs one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from tests.conftest import CALL

RUN = """
import threading, time
import otel_research as otr
from opentelemetry import trace
otr.configure(store="disk:{store}")
tracer = trace.get_tracer("app")
exp = otr.start_experiment("from a <i>notebook")
shown = threading.Event()
def work():
    for number in range(200):
        with exp.arm("ab"[number % 2]), tracer.start_as_current_span("chat", attributes={call!r}):
            time.sleep(0.005)
        if number == 20:
            shown.wait(30)
    otr.stop_experiment(exp.id)
threading.Thread(target=work).start()
threading.Timer(3, shown.set).start()
"""


def test_a_real_kernel_shows_the_run_and_replaces_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One output, updated while the run goes on, whose last content is that it is over with every span."""
    monkeypatch.chdir(tmp_path)
    told: list[tuple[str, str]] = []

    class Client(nbclient.NotebookClient):  # type: ignore[misc]
        def process_message(self, message: Any, cell: Any, index: int) -> Any:
            if message["msg_type"] in ("display_data", "update_display_data"):
                told.append((message["msg_type"], message["content"]["data"]["text/html"]))
            return super().process_message(message, cell, index)

    notebook = nbformat.v4.new_notebook()
    cells = (RUN.format(store=tmp_path / "store", call=dict(CALL)), "exp.live()")
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    Client(notebook, kernel_name="python3", timeout=60).execute()

    assert [kind for kind, _ in told].count("display_data") == 1
    while_running = [shown for _, shown in told if "(running)" in shown]
    assert len(set(while_running)) >= 2
    assert all("from a &lt;i&gt;notebook" in shown for shown in while_running)
    (output,) = [one for one in notebook.cells[1].outputs if one.output_type == "display_data"]
    assert output["data"]["text/html"] == told[-1][1]
    assert "(stopped)" in told[-1][1]
    assert "200 spans, 200 calls" in told[-1][1]
