"""A page under observation: whatever it logs, throws or asks of the outside fails the test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from stores import Server

WAIT = 90_000
"""Milliseconds that a page may take on a machine that is busy with other things."""


class Watched:
    """A browser page and what it did."""

    def __init__(self, context: Any, server: Server) -> None:
        self.context, self.server = context, server
        self.page = context.new_page()
        self.page.set_default_timeout(WAIT)
        self.problems: list[str] = []
        self.outside: list[str] = []
        self.may_fail = False
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(f"thrown: {error}"))
        self.page.on("dialog", lambda dialog: (self.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        context.on("request", self._asked)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning") and not self.may_fail:
            self.problems.append(f"{message.type}: {message.text}")

    def _asked(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.hostname}:{parts.port}" != f"127.0.0.1:{self.server.port}":
            self.outside.append(request.url)

    def open(self, path: str) -> Any:
        """Open an address of the server."""
        mark = "&" if "?" in path else "?"
        self.page.goto(f"{self.server.address.rstrip('/')}{path}{mark}token={self.server.token}")
        return self.page

    def text(self, selector: str) -> str:
        """An element's text."""
        return str(self.page.inner_text(selector))


@contextmanager
def opened(browser: Any, server: Server, *, dark: bool = False, width: int = 1280) -> Iterator[Watched]:
    """A fresh context; at its end nothing may have gone wrong."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    watched = Watched(context, server)
    try:
        yield watched
        assert watched.problems == []
        assert watched.outside == []
    finally:
        context.close()


def until(page: Any, expression: str) -> None:
    """Wait until an expression holds; `wait_for_function` would need `eval`, which the page's policy forbids."""
    deadline = time.monotonic() + WAIT / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, (
            f"never true: {expression}; problems: {page.locator('.problem').all_inner_texts()}; {page.inner_text('header')}"
        )
        page.wait_for_timeout(100)
