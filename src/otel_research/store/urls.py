"""Store URLs: which text names which store."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from otel_research.errors import ConfigurationError
from otel_research.store.base import Store


def _disk(rest: str) -> Store:
    from otel_research.store.disk import DiskStore, default_root

    return DiskStore(Path(rest) if rest else default_root())


def _memory(rest: str) -> Store:
    from otel_research.store.memory import MemoryStore

    if rest:
        raise ConfigurationError(f"'memory:{rest}' names nothing: a memory store is just 'memory:'.")
    return MemoryStore()


STORES: tuple[tuple[str, Callable[[str], Store]], ...] = (
    ("disk", _disk),
    ("memory", _memory),
)


def open_store(store: str | Store | None) -> Store:
    """The store that a URL names; a store is returned as it is; None is the default disk store."""
    if store is None:
        return _disk("")
    if not isinstance(store, str):
        return _checked(store)
    scheme, colon, rest = store.partition(":")
    known = dict(STORES)
    if colon and scheme in known:
        return known[scheme](rest)
    near = get_close_matches(scheme, known, n=1)
    hint = f" Did you mean '{near[0]}:{rest}'?" if near and colon else ""
    if not colon:
        hint = f" For a folder write 'disk:{store}'."
    raise ConfigurationError(f"{store!r} is not a store; known are {', '.join(f'{name}:' for name in known)}.{hint}")


def _checked(store: object) -> Store:
    missing = [name for name in ("append", "scan", "delete", "close") if not callable(getattr(store, name, None))]
    if missing:
        raise ConfigurationError(
            f"{type(store).__name__} is not a Store: it lacks {', '.join(missing)}. See otel_research.testing.StoreContract."
        )
    return store  # type: ignore[return-value]
