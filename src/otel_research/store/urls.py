"""Store URLs: which text names which store."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import Any

from otel_research.errors import ConfigurationError
from otel_research.redaction import redacted
from otel_research.store.base import Store


def _disk(rest: str) -> Store:
    from otel_research.store.disk import DiskStore, default_root

    return DiskStore(Path(rest) if rest else default_root())


def _memory(rest: str) -> Store:
    from otel_research.store.memory import MemoryStore

    if rest:
        raise ConfigurationError(f"'memory:{rest}' names nothing: a memory store is just 'memory:'.")
    return MemoryStore()


def _postgres(rest: str) -> Store:
    from otel_research.store.postgres import PostgresStore

    return PostgresStore(f"postgresql:{rest}")


def _s3(rest: str) -> Store:
    from otel_research.store.s3 import S3Store

    return S3Store(f"s3:{rest}")


STORES: tuple[tuple[str, Callable[[str], Store]], ...] = (
    ("disk", _disk),
    ("memory", _memory),
    ("postgresql", _postgres),
    ("postgres", _postgres),
    ("s3", _s3),
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
    registered = _registered()
    if colon and scheme in registered:
        return _checked(_loaded(registered[scheme])(store))
    known |= registered
    shown = redacted(store)
    near = get_close_matches(scheme, known, n=1)
    hint = f" Did you mean '{near[0]}:{shown.partition(':')[2]}'?" if near and colon else ""
    if not colon:
        hint = f" For a folder write 'disk:{shown}'."
    raise ConfigurationError(f"{shown!r} is not a store; known are {', '.join(f'{name}:' for name in known)}.{hint}")


def _registered() -> dict[str, Any]:
    """scheme -> entry point of `otel_research.stores`: what other packages offer. Read on demand."""
    return {point.name: point for point in metadata.entry_points(group="otel_research.stores")}


def _loaded(point: Any) -> Callable[[str], object]:
    """The factory that an entry point names: called with the whole URL, it gives a `Store`."""
    try:
        factory = point.load()
    except Exception as error:
        raise ConfigurationError(
            f"the store '{point.name}:' of {getattr(point.dist, 'name', 'a package')} cannot be loaded "
            f"({point.value}): {type(error).__name__}: {error}."
        ) from error
    return factory  # type: ignore[no-any-return]


def _checked(store: object) -> Store:
    missing = [name for name in ("append", "scan", "delete", "close") if not callable(getattr(store, name, None))]
    if missing:
        raise ConfigurationError(
            f"{type(store).__name__} is not a Store: it lacks {', '.join(missing)}. See otel_research.testing.StoreContract."
        )
    return store  # type: ignore[return-value]
