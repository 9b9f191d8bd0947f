"""A span's fields as the encoder reads them.

The encoder takes `span._name` and kin: on SDK spans that is the stored value, without a
property call each. Whether a release of the SDK still stores them so is checked once, on a
real span; if not, every span is read through its public properties (`PublicView`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_research.capture.ids import ExperimentIdGenerator
from otel_research.spans.record import as_text, as_time

if TYPE_CHECKING:
    from otel_research.capture.content import Content

_FIELDS = ("name", "context", "kind", "parent", "start_time", "end_time", "status", "events", "links")


class PublicView:
    """The same names, filled from the public properties, each made to fit its column and with its content redacted."""

    def __init__(self, span: Any, redact: Content | None = None) -> None:
        kind, status = span.kind, span.status
        self._name = as_text(span.name) if redact is None else redact.span_name(as_text(span.name))
        self._context = span.context
        self._kind = kind if isinstance(kind, SpanKind) else SpanKind.INTERNAL
        self._parent = span.parent
        self._start_time = _time(span.start_time)
        self._end_time = None if span.end_time is None else _time(span.end_time)
        self._status = status if isinstance(status, Status) else Status(StatusCode.UNSET)
        self._attributes = SimpleNamespace(dropped=getattr(span, "dropped_attributes", 0))
        self._events = _Items(span.events, getattr(span, "dropped_events", 0), redact)
        self._links = _Items(span.links, getattr(span, "dropped_links", 0), redact)
        # The encoder's names for what the API's `Status` gives by property.
        if not hasattr(self._status, "_status_code"):
            self._status = SimpleNamespace(_status_code=status.status_code, _description=status.description)  # type: ignore[assignment]
        if redact is not None:
            told = redact.message(self._status._description)
            self._status = SimpleNamespace(_status_code=self._status._status_code, _description=told)  # type: ignore[assignment]


def _time(reported: Any) -> int:
    """A reported time; what is no time (NaN, text) becomes the time of now, at which the span starts or ends."""
    try:
        return as_time(reported)
    except (TypeError, ValueError):
        return time.time_ns()


class _Items(list[Any]):
    """Events or links with the count of those evicted, their names and attributes redacted."""

    def __init__(self, items: Any, dropped: int, redact: Content | None) -> None:
        super().__init__(items if redact is None else [_redacted(item, redact) for item in items])
        self.dropped = dropped

    @property
    def _dq(self) -> _Items:
        return self


def _redacted(item: Any, redact: Content) -> Any:
    name = getattr(item, "name", None)
    return SimpleNamespace(
        name=redact.event_name(name) if isinstance(name, str) else name,
        timestamp=getattr(item, "timestamp", None),
        context=getattr(item, "context", None),
        attributes=redact.applied(item.attributes or {}),
    )


def stores_fields(span: Any) -> bool:
    """Whether the span's private fields hold what its public properties return, and take what is put there."""
    try:
        same = all(_equal(getattr(span, f"_{name}"), getattr(span, name)) for name in _FIELDS)
        status = span._status
        same &= (status._status_code, status._description) == (status.status_code, status.description)
        same &= list(span._events._dq) == list(span.events) and list(span._links._dq) == list(span.links)
        bounded = span._attributes
        bounded._dict["otel_research.probe"] = 1
        same &= dict(bounded._dict) == dict(span.attributes) and "otel_research.probe" in span.attributes
        return bool(same and bounded.maxlen is not False and bounded.max_value_len is None and bounded.dropped == 0)
    except (AttributeError, TypeError):
        return False


def _equal(stored: Any, public: Any) -> bool:
    return stored == public or tuple(stored) == tuple(public)


def _probe() -> bool:
    # Ids of our own: the stock generator would move the program's random numbers.
    ids = ExperimentIdGenerator()
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False, span_limits=_no_limits(), id_generator=ids)
    with provider.get_tracer("otel_research.probe").start_as_current_span("probe", attributes={"a": 1}) as span:
        span.add_event("e")
        if not stores_fields(span):
            return False
    return stores_fields(span._readable_span())  # type: ignore[attr-defined]


def _no_limits() -> Any:
    from opentelemetry.sdk.trace import SpanLimits

    return SpanLimits(max_attributes=SpanLimits.UNSET, max_attribute_length=SpanLimits.UNSET)


_is_fast: bool | None = None


def is_fast() -> bool:
    """Whether this SDK's spans can be read through their fields; checked on first use, not at import."""
    global _is_fast
    if _is_fast is None:
        try:
            _is_fast = _probe()
        except Exception:
            _is_fast = False
    return _is_fast


def attributes_of(span: Any) -> Mapping[str, Any]:
    """A span's attributes as a plain dict where that is free."""
    bounded = span._attributes
    found: Mapping[str, Any] | None = getattr(bounded, "_dict", None)
    return dict(span.attributes or {}) if found is None else found
