"""Opt-in: threads and executors carry the experiment of where they are started, or submitted to.

Context variables do not cross `Thread`, `ThreadPoolExecutor.submit` and `loop.run_in_executor`
(which submits). Two methods of the standard library are wrapped while the recorder is open. Only
our scope is carried, with the source "thread"; the spans' parents, and so what the host's backend
sees, stay as they were. A task of a pool gets the scope of its own submitter, not that of whoever
made the worker thread.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from otel_research import context
from otel_research.capture.registry import resolve
from otel_research.context import Scope

_start = threading.Thread.start
_submit = ThreadPoolExecutor.submit
_is_attached = False


def attach(is_wanted: bool) -> None:
    """Wrap the two methods, where that is wanted."""
    global _is_attached, _start, _submit
    if not is_wanted or _is_attached:
        return
    _start, _submit = threading.Thread.start, ThreadPoolExecutor.submit
    threading.Thread.start = _start_carrying  # type: ignore[method-assign, assignment]
    ThreadPoolExecutor.submit = _submit_carrying  # type: ignore[method-assign, assignment]
    _is_attached = True


def detach() -> None:
    """Put back what was there; a wrapper that somebody else has put around ours stays and carries nothing more."""
    global _is_attached
    _is_attached = False
    if threading.Thread.start is _start_carrying:
        threading.Thread.start = _start  # type: ignore[method-assign]
    if ThreadPoolExecutor.submit is _submit_carrying:
        ThreadPoolExecutor.submit = _submit  # type: ignore[method-assign]


def _start_carrying(thread: threading.Thread) -> None:
    scope = _here()
    if scope is not None and not _is_worker(thread):
        thread.run = functools.partial(_inside, scope, thread.run)  # type: ignore[method-assign]
    _start(thread)


def _submit_carrying(
    executor: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Future[Any]:
    scope = _here()
    return _submit(
        executor, function if scope is None else functools.partial(_inside, scope, function), *args, **kwargs
    )


def _here() -> Scope | None:
    """The scope that a span started here would get, except the process-wide one, which threads have anyway."""
    scope = resolve(None) if _is_attached else None
    return None if scope is None or scope is context.process_scope() else scope.from_source("thread")


def _is_worker(thread: threading.Thread) -> bool:
    """Whether it is a pool's own thread: it lives longer than the task for which it was made."""
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", None) == "concurrent.futures.thread"


def _inside(scope: Scope, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    with context.entered(scope):
        return function(*args, **kwargs)
