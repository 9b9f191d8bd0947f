"""The place of the global TracerProvider, kept free for the program's own.

OpenTelemetry lets the global provider be set once. If ours sat there before a vendor's set-up ran, Logfire's
and Phoenix's would be refused, OpenLIT would export nothing, and Langfuse would drop its sampler. So ours is built when
the first span or experiment needs it, and goes when the program sets one after all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import ProxyTracer, ProxyTracerProvider, Tracer
from opentelemetry.util.types import Attributes

Build = Callable[[], TracerProvider | None]


class StandIn(ProxyTracerProvider):
    """What `get_tracer_provider()` gives while nobody has set one: to whoever asks, there is none yet.

    The first span of one of its tracers builds ours, and so does whoever wants more of it than
    tracers, because such code counts on a provider of the SDK.
    """

    provider = _provider = None  # it holds none: a look for the provider inside must not build one

    def __init__(self, build: Build, stock: ProxyTracerProvider) -> None:
        self._build = build
        self._stock = stock

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """A tracer of whichever provider there is when its first span starts."""
        made = _Waiting(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        made.build = self._build
        return made

    def __getattr__(self, name: str) -> Any:
        built = None if name.startswith("_") else self._build()
        if built is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(built, name)

    def leave(self) -> None:
        """Put OpenTelemetry's own back."""
        if trace._PROXY_TRACER_PROVIDER is self:
            trace._PROXY_TRACER_PROVIDER = self._stock


class _Waiting(ProxyTracer):
    build: Build

    @property
    def _tracer(self) -> Tracer:
        if self._real_tracer is None and trace._TRACER_PROVIDER is None:
            self.build()
        return super()._tracer


def put(build: Build) -> StandIn | None:
    """Stand in for the global provider; None where there is one, or where this OpenTelemetry keeps it elsewhere."""
    stock = trace.get_tracer_provider()
    if not isinstance(stock, ProxyTracerProvider) or stock is not getattr(trace, "_PROXY_TRACER_PROVIDER", None):
        return None
    made = trace._PROXY_TRACER_PROVIDER = StandIn(build, stock)
    return made


class _GivingWay:
    """In the place of OpenTelemetry's `Once`: lets the global provider, which is ours, be set once more."""

    def __init__(self, may: Callable[[], bool], told: Callable[[], None]) -> None:
        self._may = may
        self._told = told
        # Protects `_done`: the place is given up once.
        self._lock = threading.Lock()
        self._done = False

    def do_once(self, func: Callable[[], None]) -> bool:
        """Run `func`, which sets the provider; False: it stays as it is, and OpenTelemetry says so."""
        with self._lock:
            if self._done or not self._may():
                return False
            func()
            self._done = True
        # Outside of the lock, because it asks for the global provider.
        self._told()
        return True


def give_way(may: Callable[[], bool], told: Callable[[], None]) -> None:
    """Let the program set a provider of its own while `may()`; `told()` is called when it has."""
    if hasattr(trace, "_TRACER_PROVIDER_SET_ONCE"):
        trace._TRACER_PROVIDER_SET_ONCE = _GivingWay(may, told)  # type: ignore[assignment]


def hand_over(provider: TracerProvider) -> None:
    """Let the tracers of a provider that was global make their spans at the one that is now."""
    for scope, tracer in list(getattr(provider, "_tracers", {}).items()):
        attributes = dict(scope.attributes) if scope.attributes else None
        successor = trace.get_tracer(
            scope.name, scope.version or None, schema_url=scope.schema_url or None, attributes=attributes
        )
        tracer.start_span = successor.start_span
        tracer.start_as_current_span = successor.start_as_current_span
