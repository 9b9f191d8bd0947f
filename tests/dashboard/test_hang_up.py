"""Ctrl+C on a server that somebody watches."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from stores import Made, Server


def test_open_pages_are_let_go_without_a_word(made: Made, tmp_path: Path) -> None:
    """The events end, so that the page connects again; the terminal shows no error."""
    serving = Server(made, tmp_path / "state")
    cookie = f"otel-research-{serving.port}={serving.token}"
    asked = urllib.request.Request(
        f"{serving.address}events?experiment={made.ids['empty']}", headers={"cookie": cookie}
    )
    with urllib.request.urlopen(asked, timeout=60) as events:
        assert events.readline() == b"retry: 1000\n"
        serving.stop()
        events.read()
    assert serving.process.stdout is not None
    said = serving.process.stdout.read()
    assert "ERROR" not in said
    assert "Traceback" not in said
    assert serving.process.returncode == 0
