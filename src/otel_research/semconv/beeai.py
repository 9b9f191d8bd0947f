"""BeeAI by OpenInference: events of a call are spans of no duration that say they are calls too."""

from __future__ import annotations

import polars as pl

SCOPE = "openinference.instrumentation.beeai"
_SAYS = r'("openinference\.span\.kind"\s*:\s*)"LLM"'


def told(rows: pl.DataFrame, attributes: pl.Series) -> pl.Series:
    """The attributes, with those of mere events saying that they are steps: they name no model and count nothing."""
    is_its = (rows["scope"] == SCOPE).fill_null(False)
    if not is_its.any():
        return attributes
    is_event = (rows["start_ns"] == rows["end_ns"]) & ~attributes.str.contains_any(["model_name", "token_count"])
    places = (is_its & is_event).fill_null(False).arg_true()
    return attributes.clone().scatter(places, attributes.gather(places).str.replace(_SAYS, '${1}"CHAIN"'))
