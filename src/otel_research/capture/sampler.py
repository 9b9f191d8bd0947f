"""The sampler: inside an experiment no span is dropped, and the host's forwarding stays as it was.

What the host's sampler would drop becomes RECORD_ONLY: every processor sees it, the batch and
simple processors skip it, and outgoing requests keep their unsampled flag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from otel_research.capture import registry
from otel_research.capture.registry import resolve


class ExperimentSampler(Sampler):
    """Wraps the host's sampler; outside any experiment it is exactly that sampler.

    `forward_all`: sample experiment spans in full instead of recording them only here.
    `is_tagging`: put the experiment's attributes on the span. `configure()` leaves that to its
    processor, which does it for a tenth of the cost; a sampler used by hand does it itself, so
    that the tags are there whatever hangs behind it.
    """

    def __init__(self, delegate: Sampler, *, forward_all: bool = False, is_tagging: bool = True) -> None:
        self.delegate = delegate
        self.forward_all = forward_all
        self.is_tagging = is_tagging
        # The decision that needs no change, inside an experiment or not.
        self._untouched = None if is_tagging else Decision.RECORD_AND_SAMPLE

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The delegate's result; inside an experiment never DROP."""
        # The SDK passes six arguments; a delegate written for those must not get a seventh.
        result = self.delegate.should_sample(parent_context, trace_id, name, kind, attributes, links)
        if result.decision is self._untouched and not registry.forwarding:
            return result
        scope = resolve(parent_context)
        if scope is None:
            return result
        given: Mapping[str, Any] = result.attributes
        if result.decision is Decision.DROP:
            # The SDK's samplers null the attributes of what they drop.
            given = {**(attributes or {}), **given}
        decision = self._forwarded(result.decision, registry.forwarding.get(scope.experiment_id))
        tagged = {**given, **scope.missing_from(given)} if self.is_tagging else given
        return SamplingResult(decision, tagged, result.trace_state)

    def _forwarded(self, host: Decision, wish: str | None) -> Decision:
        """Recorded in any case; sampled as the experiment wishes, or as the host's sampler has decided."""
        if wish == "none":
            return Decision.RECORD_ONLY
        if wish == "all" or (self.forward_all and wish is None):
            return Decision.RECORD_AND_SAMPLE
        return Decision.RECORD_ONLY if host is Decision.DROP else host

    def get_description(self) -> str:
        """Our name around the delegate's."""
        return f"ExperimentSampler{{{self.delegate.get_description()}}}"
