"""What `configure()` was asked for: its arguments, with the environment's answers where code gave none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_research.capture import forward
from otel_research.capture.baggage import check_hosts
from otel_research.capture.caretaker import FSYNC_SECONDS
from otel_research.capture.content import Policy, check_policy
from otel_research.capture.room import Overload, check_overload
from otel_research.context import environment
from otel_research.errors import ConfigurationError
from otel_research.processes.carrier import flag
from otel_research.store.backlog import check_limit
from otel_research.store.base import Store


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of `configure()`, with the environment's answers where code gave none."""

    store: str | Store | None
    provider: Any
    forward: Any
    forward_all: bool
    overload: Overload
    fsync: str
    starts: bool
    content: Policy
    spill: str | None
    backlog: int | None
    baggage: tuple[str, ...] = ()
    threads: bool = False
    is_disabled: bool = False

    def is_same(self, other: Settings) -> bool:
        """Whether the other settings ask for the same recorder."""
        return (
            same_store(self.store, other.store)
            and (self.baggage, self.threads, self.is_disabled) == (other.baggage, other.threads, other.is_disabled)
            and self.provider is other.provider
            and forward.same(self.forward, other.forward)
            and (self.forward_all, self.overload, self.fsync, self.starts, self.spill, self.backlog)
            == (other.forward_all, other.overload, other.fsync, other.starts, other.spill, other.backlog)
            and self.content == other.content
        )


def same_store(first: Any, second: Any) -> bool:
    """Whether both name the same store, or are it."""
    return first is second or (isinstance(first, str) and first == second)


def settings_from(
    store: str | Store | None,
    provider: Any,
    forward_to: Any,
    forward_all: bool,
    overload: Overload | None,
    fsync: str | None,
    starts: bool | None,
    content: Policy | None,
    spill: str | Path | None = None,
    backlog: int | str | None = None,
    baggage: Sequence[str] = (),
    threads: bool = False,
) -> Settings:
    """The settings, checked; raises `ConfigurationError` naming what is wrong."""
    said = environment()
    chosen = store if store is not None else said.get("store")
    fsync = fsync or said.get("fsync") or "1s"
    if fsync not in FSYNC_SECONDS:
        raise ConfigurationError(f"fsync={fsync!r} is not a policy: use one of {', '.join(FSYNC_SECONDS)}.")
    for name, value in (("forward_all", forward_all), ("starts", starts), ("threads", threads)):
        if value is not None and not isinstance(value, bool):
            raise ConfigurationError(f"{name}={value!r} is neither True nor False.")
    if starts is None:
        starts = flag("starts", said.get("starts", "true"))
    return Settings(
        store=absolute(chosen),
        provider=provider,
        forward=forward_to,
        forward_all=forward_all,
        overload=check_overload(overload or said.get("overload") or "block"),
        fsync=fsync,
        starts=starts,
        content=check_policy(content if content is not None else said.get("content") or "full"),
        spill=_folder(spill if spill is not None else said.get("spill")),
        backlog=check_limit(backlog if backlog is not None else said.get("backlog")),
        baggage=check_hosts(baggage),
        threads=threads,
        is_disabled=flag("disabled", said.get("disabled", "false")),
    )


def _folder(spill: str | Path | None) -> str | None:
    return None if spill is None else os.path.abspath(os.path.expanduser(str(spill).removeprefix("disk:")))


def absolute(store: str | Store | None) -> str | Store:
    """A relative disk path means the working directory of now, whatever the program does later."""
    if store is None:
        return f"disk:{os.path.abspath('.otel_research')}"
    if isinstance(store, str) and store.startswith("disk:"):
        return f"disk:{os.path.abspath(os.path.expanduser(store.removeprefix('disk:') or '.otel_research'))}"
    return store
