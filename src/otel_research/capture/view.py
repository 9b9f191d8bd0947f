"""A span's fields as the encoder reads them.

The encoder takes `span._name` and kin: on SDK spans that is the stored value, without a
property call each. Whether a release of the SDK still stores them so is checked once, on a
real span; if not, every span is read through its public properties (`PublicView`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

_FIELDS = ("name", "context", "kind", "parent", "start_time", "end_time", "status", "events", "links")


class PublicView:
    """The same names, filled from the public properties."""

    def __init__(self, span: ReadableSpan, redact: Callable[[Mapping[str, Any]], Any] | None = None) -> None:
        self._name = span.name
        self._context = span.context
        self._kind = span.kind
        self._parent = span.parent
        self._start_time = span.start_time
        self._end_time = span.end_time
        self._status = span.status
        self._attributes = SimpleNamespace(dropped=span.dropped_attributes)
        self._events = _Items(span.events, span.dropped_events, redact)
        self._links = _Items(span.links, span.dropped_links, redact)


class _Items(list[Any]):
    """Events or links with the count of those evicted, their attributes redacted."""

    def __init__(self, items: Any, dropped: int, redact: Callable[[Mapping[str, Any]], Any] | None) -> None:
        super().__init__(items if redact is None else [_redacted(item, redact) for item in items])
        self.dropped = dropped


def _redacted(item: Any, redact: Callable[[Mapping[str, Any]], Any]) -> Any:
    return SimpleNamespace(
        name=getattr(item, "name", None),
        timestamp=getattr(item, "timestamp", None),
        context=getattr(item, "context", None),
        attributes=redact(item.attributes or {}),
    )


def stores_fields(span: Any) -> bool:
    """Whether the span's private fields hold what its public properties return."""
    try:
        same = all(_equal(getattr(span, f"_{name}"), getattr(span, name)) for name in _FIELDS)
        return same and dict(span._attributes._dict) == dict(span.attributes)
    except AttributeError:
        return False


def _equal(stored: Any, public: Any) -> bool:
    return stored == public or tuple(stored) == tuple(public)


def _probe() -> bool:
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    with provider.get_tracer("otel_research.probe").start_as_current_span("probe", attributes={"a": 1}) as span:
        span.add_event("e")
    return stores_fields(span) if span.is_recording() is False and hasattr(span, "_attributes") else False


_is_fast: bool | None = None


def is_fast() -> bool:
    """Whether this SDK's spans can be read through their fields; checked on first use, not at import."""
    global _is_fast
    if _is_fast is None:
        _is_fast = _probe()
    return _is_fast


def attributes_of(span: Any) -> Mapping[str, Any]:
    """A span's attributes as a plain dict where that is free."""
    bounded = span._attributes
    found: Mapping[str, Any] | None = getattr(bounded, "_dict", None)
    return dict(span.attributes or {}) if found is None else found
