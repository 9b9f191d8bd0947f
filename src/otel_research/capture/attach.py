"""Put our pieces on a TracerProvider, and take them off again; nothing of the host's is removed."""

from __future__ import annotations

import os
import weakref
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler

from otel_research.capture.ids import ExperimentIdGenerator
from otel_research.capture.processor import ExperimentSpanProcessor, Flushable
from otel_research.capture.sampler import ExperimentSampler
from otel_research.errors import ConfigurationError

# A processor cannot be taken off a provider, so the one that is there is used again.
_attached: weakref.WeakKeyDictionary[TracerProvider, ExperimentSpanProcessor] = weakref.WeakKeyDictionary()


def find_provider(given: Any = None) -> TracerProvider | None:
    """The SDK provider to extend: the given one, else the global one, proxies unwrapped; None: build one."""
    found = trace.get_tracer_provider() if given is None else given
    for _ in range(3):
        if isinstance(found, TracerProvider):
            return found
        # Logfire's and Phoenix's providers are proxies around an SDK provider.
        found = getattr(found, "provider", None) or getattr(found, "_provider", None)
    if given is not None:
        raise ConfigurationError(
            f"provider={given!r} is not an OpenTelemetry SDK TracerProvider and holds none; "
            "pass an opentelemetry.sdk.trace.TracerProvider, or leave it out."
        )
    return None


def build_provider() -> TracerProvider:
    """A provider of our own, made the global one: nothing dropped, no attribute limit unless the user set one."""
    provider = TracerProvider(span_limits=_unlimited())
    trace.set_tracer_provider(provider)
    return provider


def _unlimited() -> SpanLimits:
    wanted = {
        "max_attributes": "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "max_span_attributes": "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "max_event_attributes": "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        "max_link_attributes": "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        "max_events": "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "max_links": "OTEL_SPAN_LINK_COUNT_LIMIT",
    }
    return SpanLimits(**{name: SpanLimits.UNSET for name, variable in wanted.items() if variable not in os.environ})


def attach(
    provider: TracerProvider, recorder: Flushable, *, forward: list[SpanProcessor], forward_all: bool
) -> None:
    """Sampler, id generator, our processor and the forwarding ones, on the provider and the tracers it has made."""
    ours = _attached.get(provider)
    if ours is None:
        ours = _attached[provider] = ExperimentSpanProcessor(recorder)
        provider.add_span_processor(ours)
    ours.recorder = recorder
    _set_sampler(provider, ExperimentSampler(_host_sampler(provider.sampler), forward_all=forward_all))
    if type(provider.id_generator) is RandomIdGenerator:
        _set_id_generator(provider, ExperimentIdGenerator())
    for extra in forward:
        provider.add_span_processor(extra)


def detach(provider: TracerProvider) -> None:
    """Give the host its sampler back; without a running experiment our processor lets every span pass."""
    ours = _attached.get(provider)
    if ours is not None:
        ours.recorder = None
    _set_sampler(provider, _host_sampler(provider.sampler))


def _host_sampler(sampler: Sampler) -> Sampler:
    while isinstance(sampler, ExperimentSampler):
        sampler = sampler.delegate
    return sampler


def _set_sampler(provider: TracerProvider, sampler: Sampler) -> None:
    provider.sampler = sampler
    for tracer in _tracers(provider):
        tracer.sampler = sampler


def _set_id_generator(provider: TracerProvider, generator: ExperimentIdGenerator) -> None:
    provider.id_generator = generator
    for tracer in _tracers(provider):
        tracer.id_generator = generator


def _tracers(provider: TracerProvider) -> list[Any]:
    """Tracers made before us: they hold their own sampler and generator."""
    return list(getattr(provider, "_tracers", {}).values())


def processors_of(provider: TracerProvider) -> list[SpanProcessor]:
    """What hangs on a provider, in the order it is called."""
    return list(getattr(provider._active_span_processor, "_span_processors", ()))
