"""Canonical vocabulary: what spans of any instrumentation say, in one set of columns.

normalise(frame)     RAW columns -> + CANONICAL, row by row
calls.mark(frame)    + is_call, excluded_because: which rows are the calls
findings(frame)      what a marked frame lacks or doubts
unmapped(frame)      attribute keys that no dialect knows
"""

from __future__ import annotations

from otel_research.semconv.findings import Finding, findings
from otel_research.semconv.normalise import normalise
from otel_research.semconv.scores import scores
from otel_research.semconv.unmapped import unmapped

__all__ = ["Finding", "findings", "normalise", "scores", "unmapped"]
