"""Langtrace: GenAI names on the calls, `langtrace.service.type` on all spans; streams without usage carry its estimate."""

from __future__ import annotations

import polars as pl

from otel_research.semconv.dialect import CHAIN, RETRIEVAL, Attributes, Dialect, words

ROLES = {"framework": CHAIN, "vectordb": RETRIEVAL}


def role(attributes: Attributes) -> pl.Expr:
    """Frameworks and stores by their type; what names an operation is left to the convention."""
    kind = words(attributes.text("langtrace.service.type"), ROLES)
    return pl.when(attributes.text("gen_ai.operation.name").is_null()).then(kind)


DIALECT = Dialect(
    name="langtrace",
    versions="langtrace-python-sdk 3.8.21",
    role=role,
    evidence=("langtrace.service.type",),
    known=("langtrace.",),
)
