"""A progress bar on the terminal; silent anywhere else, so that logs and pipes stay clean."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any


def progress_of(
    what: str, total: int, *, is_wanted: bool = True
) -> tuple[AbstractContextManager[Any], Callable[[], None]]:
    """A block in which the bar is shown, and what to call when one more is done."""
    if not is_wanted or not total or not sys.stderr.isatty():
        return nullcontext(), lambda: None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total)
    return bar, lambda: bar.advance(task)
