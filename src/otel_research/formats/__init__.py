"""Files other programs read: CSV, JSON Lines, Parquet and OTLP, each in one file of this folder."""

from __future__ import annotations

from otel_research.formats.export import FORMATS, default_name, export
from otel_research.formats.flat import flatten

__all__ = ["FORMATS", "default_name", "export", "flatten"]
