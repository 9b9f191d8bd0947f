"""What `exp.live()` shows in a notebook; a real kernel shows it in `in_notebook.py`."""

from __future__ import annotations

from otel_research.report.live import View


def test_a_live_view_shows_what_is_new_as_text() -> None:
    """The latest spans and the numbers; names are text, in HTML and without it."""
    view = View("a <i>name", "a" * 32, "running")
    view.take({"event": "span", "data": {"name": "<b>chat\x1b[2J", "condition": None, "status": "error", "error_type": "<x>",
                                         "duration_ms": 12.5, "cost_usd": 0.001}})  # fmt: skip
    shown = view._repr_html_()
    assert [part for part in ("<i>", "<b>chat", "<x>", "\x1b") if part in shown] == []
    assert "&lt;b&gt;chat" in shown
    assert "<td>12.5</td><td>0.001</td>" in shown
    assert "a <i>name" in repr(view)
    assert "object at" not in repr(view)
