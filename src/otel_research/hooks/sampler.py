"""Samplers by name: `opentelemetry_traces_sampler` (variables) and `opentelemetry_sampler` (a file)."""

from __future__ import annotations

import logging

from opentelemetry.sdk.trace.sampling import DEFAULT_ON, ParentBasedTraceIdRatio, Sampler

from otel_research.capture.sampler import ExperimentSampler
from otel_research.hooks.asked import PREPARES, note

_logger = logging.getLogger("otel_research")


def from_variables(argument: str | float | None = None) -> Sampler:
    """OTEL_TRACES_SAMPLER=research: OTEL_TRACES_SAMPLER_ARG is the ratio that is forwarded; without it, all."""
    note(PREPARES[0])
    return ExperimentSampler(_host(argument))


def from_file() -> Sampler:
    """`sampler: {research: }` of a configuration file, which passes no arguments: all is forwarded."""
    note(PREPARES[0])
    return ExperimentSampler(DEFAULT_ON)


def _host(argument: str | float | None) -> Sampler:
    if argument in (None, ""):
        return DEFAULT_ON
    try:
        return ParentBasedTraceIdRatio(float(argument))
    except (TypeError, ValueError) as error:
        _logger.error(
            "otel_research: OTEL_TRACES_SAMPLER_ARG=%r is not a ratio from 0 to 1, so all spans are forwarded: %s",
            argument,
            error,
        )
        return DEFAULT_ON
