"""Opt-in: which experiment and trial a request belongs to goes along with it, to named hosts only.

What travels is one entry of the W3C `baggage` header, `otel_research=<experiment id>[-<trial id>]`:
random hex digits, never a name. It goes to the hosts of the list; to any other host, and to one
that cannot be told, nothing of ours goes, also where a redirect would have brought it along. What
comes in is taken out of the baggage, so that nobody passes it on by accident.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators import textmap
from opentelemetry.trace import SpanKind

from otel_research.capture.registry import resolve, running
from otel_research.context import BAGGAGE_KEY, Scope
from otel_research.errors import ConfigurationError

ENTRY = "otel_research"
HEADER = "baggage"
_TOLD = re.compile(r"(?P<experiment>[0-9a-f]{8,64})(?:-(?P<trial>[0-9a-f]{16}))?")
_HOST = re.compile(r"\.?(?P<name>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[?[0-9A-Fa-f:]+\]?)(?::(?P<port>\d{1,5}))?")
_URLS = ("url.full", "http.url")
_NAMES = (("server.address", "server.port"), ("net.peer.name", "net.peer.port"), ("http.host", ""))


def check_hosts(hosts: Any) -> tuple[str, ...]:
    """The hosts, lower case: "api.example.com", "localhost:8000", ".example.com" (it and all below)."""
    if isinstance(hosts, str) or not isinstance(hosts, Iterable):
        raise ConfigurationError(f"baggage is a list of hosts such as ['api.internal'], got {hosts!r}.")
    named = tuple(hosts)
    for host in named:
        if not isinstance(host, str) or _HOST.fullmatch(host) is None:
            raise ConfigurationError(
                f"baggage names {host!r}, which is not a host: write 'api.internal', 'localhost:8000', or "
                "'.internal' for all hosts below; no scheme, no path, no wildcard."
            )
    return tuple(dict.fromkeys(host.lower() for host in named))


class ExperimentPropagator(textmap.TextMapPropagator):
    """The host's propagator, with our entry for the hosts of the list."""

    def __init__(self, delegate: textmap.TextMapPropagator, hosts: tuple[str, ...]) -> None:
        self.delegate = delegate
        self.hosts = hosts
        self._has_baggage = HEADER in delegate.fields
        self._w3c = W3CBaggagePropagator()

    def inject(
        self,
        carrier: textmap.CarrierT,
        context: Context | None = None,
        setter: textmap.Setter[textmap.CarrierT] = textmap.default_setter,
    ) -> None:
        """What the delegate injects, and our entry where the request's host is on the list."""
        self.delegate.inject(carrier, context, setter)
        told = self._told(context)
        if isinstance(carrier, MutableMapping):
            there = _withdrawn(carrier)
            if told is not None:
                setter.set(carrier, HEADER, ",".join([*there, f"{ENTRY}={told}"]))
        elif told is not None:
            # A host whose propagators leave baggage alone keeps its own baggage to itself.
            around = context if self._has_baggage else Context()
            self._w3c.inject(carrier, baggage.set_baggage(ENTRY, told, around), setter)

    def _told(self, context: Context | None) -> str | None:
        """Our entry's value for the request that is made in this context; None: it gets none."""
        scope = resolve(context)
        if scope is None or not any(is_on(self.hosts, *target) for target in _targets(context)):
            return None
        trial = scope.trial_id or ""
        told = f"{scope.experiment_id}-{trial}"
        return told if _TOLD.fullmatch(told) else scope.experiment_id

    def extract(
        self,
        carrier: textmap.CarrierT,
        context: Context | None = None,
        getter: textmap.Getter[textmap.CarrierT] = textmap.default_getter,
    ) -> Context:
        """What the delegate extracts; our entry becomes the scope of what is served."""
        found = self.delegate.extract(carrier, context, getter)
        entries = found if self._has_baggage else self._w3c.extract(carrier, Context(), getter)
        told = baggage.get_baggage(ENTRY, entries)
        if told is None:
            return found
        scope = _scope(told)
        kept = baggage.remove_baggage(ENTRY, found)
        return kept if scope is None else Context({**kept, BAGGAGE_KEY: scope})

    @property
    def fields(self) -> set[str]:
        """Headers that `inject` may set."""
        return {*self.delegate.fields, HEADER}


def _scope(told: object) -> Scope | None:
    match = _TOLD.fullmatch(str(told))
    if match is None:
        return None
    # One that does not run here is believed too: its spans must not fall into another experiment.
    capture = running.get(match["experiment"])
    return Scope(
        experiment_id=match["experiment"],
        experiment_name="" if capture is None else capture.name,
        trial_id=match["trial"],
        source="baggage",
    )


def _targets(context: Context | None) -> Iterator[tuple[str, str]]:
    """(host, port) of the request as its client span tells them."""
    span: Any = trace.get_current_span(context)
    attributes = getattr(span, "attributes", None)
    if not attributes or getattr(span, "kind", None) not in (SpanKind.CLIENT, SpanKind.PRODUCER):
        return
    for key in _URLS:
        if isinstance(url := attributes.get(key), str):
            try:
                parts = urlsplit(url)
                yield (parts.hostname or "").lower(), str(parts.port or "")
            except ValueError:
                continue
            return
    for name, port in _NAMES:
        if isinstance(host := attributes.get(name), str):
            yield host.lower(), str(attributes.get(port, ""))
            return


def is_on(hosts: tuple[str, ...], host: str, port: str) -> bool:
    """Whether the list names the host: alone, with this port, or below a name that begins with a dot."""
    return any(_names(entry, host, port) for entry in hosts) if host else False


def _names(entry: str, host: str, port: str) -> bool:
    match = _HOST.fullmatch(entry)
    assert match is not None
    name = match["name"].strip("[]")
    is_host = host.strip("[]") == name or (entry.startswith(".") and host.endswith("." + name))
    return is_host and match["port"] in (None, port)


def _withdrawn(carrier: MutableMapping[Any, Any]) -> list[str]:
    """The entries of others in these headers; ours, which an earlier request may have left there, is taken out."""
    others: list[str] = []
    for key in [key for key in carrier if str(key).lower() == HEADER]:
        value = carrier[key]
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        entries = text.split(",")
        kept = [entry for entry in entries if entry.partition("=")[0].strip() != ENTRY]
        others += [entry.strip() for entry in kept if entry.strip()]
        if not kept:
            del carrier[key]
        elif len(kept) < len(entries):
            carrier[key] = ",".join(kept).encode("latin-1") if isinstance(value, bytes) else ",".join(kept)
    return others


def attach(hosts: tuple[str, ...]) -> None:
    """Put our propagator around the global one, where any host is named."""
    detach()
    if hosts:
        propagate.set_global_textmap(ExperimentPropagator(propagate.get_global_textmap(), hosts))


def detach() -> None:
    """Give the host its propagator back."""
    ours = propagate.get_global_textmap()
    if isinstance(ours, ExperimentPropagator):
        propagate.set_global_textmap(ours.delegate)
