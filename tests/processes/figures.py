"""Metrics as figures that can be compared."""

from __future__ import annotations

from typing import Any


def figures(metrics: Any, path: str = "") -> dict[str, Any]:
    """Every figure of metrics by its path; floats to 12 digits, because a float sum depends on the order of its rows."""
    if isinstance(metrics, dict):
        return {key: value for name in metrics for key, value in figures(metrics[name], f"{path}.{name}").items()}
    if isinstance(metrics, (list, tuple)):
        return {key: value for n, item in enumerate(metrics) for key, value in figures(item, f"{path}[{n}]").items()}
    return {path: float(f"{metrics:.12g}") if isinstance(metrics, float) else metrics}
