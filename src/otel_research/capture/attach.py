"""Put our pieces on a TracerProvider, and take them off again; nothing of the host's is removed."""

from __future__ import annotations

import logging
import os
import weakref
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, StaticSampler

from otel_research.capture.forward import Forwarding
from otel_research.capture.ids import ExperimentIdGenerator
from otel_research.capture.processor import ExperimentSpanProcessor, Flushable
from otel_research.capture.sampler import ExperimentSampler
from otel_research.capture.view import is_fast
from otel_research.errors import ConfigurationError

# The samplers that we put on providers, as opposed to those that users put there by hand.
_samplers: weakref.WeakSet[ExperimentSampler] = weakref.WeakSet()

_logger = logging.getLogger("otel_research")


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
    provider = TracerProvider(span_limits=unlimited())
    trace.set_tracer_provider(provider)
    return provider


def unlimited() -> SpanLimits:
    """No limit, except those that the standard variables set, the general one included."""
    general = "OTEL_ATTRIBUTE_COUNT_LIMIT"
    wanted = {
        "max_attributes": (general,),
        "max_span_attributes": ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", general),
        "max_event_attributes": ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", general),
        "max_link_attributes": ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", general),
        "max_events": ("OTEL_SPAN_EVENT_COUNT_LIMIT",),
        "max_links": ("OTEL_SPAN_LINK_COUNT_LIMIT",),
    }
    lifted = {name for name, variables in wanted.items() if not any(variable in os.environ for variable in variables)}
    return SpanLimits(**dict.fromkeys(lifted, SpanLimits.UNSET))


def attach(provider: TracerProvider, recorder: Flushable, *, forward: list[SpanProcessor], forward_all: bool) -> None:
    """Sampler, id generator, our processor and the forwarding ones, on the provider and the tracers it has made."""
    if getattr(provider, "_disabled", False):
        _logger.warning(
            "otel_research: OTEL_SDK_DISABLED is set, so the SDK makes no spans and nothing can be captured."
        )
    _our_processor(provider, recorder).recorder = recorder
    _wrap_samplers(provider, forward_all)
    _replace_stock_ids(provider)
    if forward:
        _our_forwarding(provider).use(forward)


def detach(provider: TracerProvider) -> None:
    """Give the host its samplers back and forward no more; our processor lets every span pass.

    Ids stay ours: the stock generator would move the program's random numbers from here on.
    """
    for found in processors_of(provider):
        if isinstance(found, ExperimentSpanProcessor):
            found.recorder = None
        elif isinstance(found, Forwarding):
            found.release()
    for holder in _holders(provider):
        if holder.sampler in _samplers:
            holder.sampler = holder.sampler.delegate


def is_bare(provider: TracerProvider) -> bool:
    """Whether nothing but pieces of ours hangs on it."""
    return all(isinstance(found, (ExperimentSpanProcessor, Forwarding)) for found in processors_of(provider))


def _our_processor(provider: TracerProvider, recorder: Flushable) -> ExperimentSpanProcessor:
    """The one that is there, from an earlier recorder or put there by the user, else a new one."""
    for found in processors_of(provider):
        if isinstance(found, ExperimentSpanProcessor):
            return found
    made = ExperimentSpanProcessor(recorder)
    _add(provider, made)
    return made


def _add(provider: TracerProvider, processor: SpanProcessor) -> None:
    """By the SDK's own method: Phoenix's provider has one that takes its exporter off when another processor comes."""
    TracerProvider.add_span_processor(provider, processor)


def _our_forwarding(provider: TracerProvider) -> Forwarding:
    for found in processors_of(provider):
        if isinstance(found, Forwarding):
            return found
    made = Forwarding()
    _add(provider, made)
    return made


def _wrap_samplers(provider: TracerProvider, forward_all: bool) -> None:
    """Each holder's own sampler, in ours; one that the user has wrapped by hand is left as it is."""
    wrapped: dict[int, ExperimentSampler] = {}
    for holder in _holders(provider):
        host = holder.sampler
        if isinstance(host, ExperimentSampler) and (host.forward_all or not forward_all):
            continue
        if is_fast() and _samples_everything(host):
            continue
        if id(host) not in wrapped:
            wrapped[id(host)] = ExperimentSampler(host, forward_all=forward_all, is_tagging=not is_fast())
            _samplers.add(wrapped[id(host)])
        holder.sampler = wrapped[id(host)]


def _samples_everything(host: Any) -> bool:
    """The SDK's `ALWAYS_ON` drops nothing, so that there is nothing for a sampler of ours to do."""
    return type(host) is StaticSampler and host._decision is Decision.RECORD_AND_SAMPLE


def _replace_stock_ids(provider: TracerProvider) -> None:
    """A generator that the host has chosen stays; the stock one reads and moves the global `random`."""
    ours: ExperimentIdGenerator | None = None
    for holder in _holders(provider):
        if type(holder.id_generator) is RandomIdGenerator:
            ours = ours or ExperimentIdGenerator()
            holder.id_generator = ours


def _holders(provider: TracerProvider) -> list[Any]:
    """The provider, and the tracers made before us: they hold their own sampler and generator."""
    return [provider, *getattr(provider, "_tracers", {}).values()]


def processors_of(provider: TracerProvider) -> list[SpanProcessor]:
    """What hangs on a provider, in the order it is called."""
    return list(getattr(provider._active_span_processor, "_span_processors", ()))
