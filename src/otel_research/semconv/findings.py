"""What a whole frame says about itself: calls that are missing, numbers that are unknown, known losses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from otel_research.semconv import flags, losses

Severity = Literal["error", "warning", "info"]

_SEVERE: dict[str, Severity] = {
    "total_mismatch": "warning",
    "estimated_tokens": "warning",
    "possible_partial_usage": "warning",
    "possible_output_plus_one": "warning",
    "tools_inside_call": "warning",
    "calls_written_over": "warning",
    "cumulative_usage": "warning",
    "calls_nested": "warning",
    "usage_without_calls": "warning",
    "unread_token_counts": "warning",
    "input_output_exchanged": "warning",
    "input_without_cache": "warning",
    "output_without_reasoning": "warning",
    "request_model_unknown": "warning",
    "usage_missing": "warning",
    "usage_incomplete": "warning",
    "usage_disputed": "warning",
    "ended_early": "warning",
    "implausible_tokens": "warning",
    "stream_without_usage": "warning",
    "malformed_attributes": "error",
    "attributes_dropped": "warning",
    "inclusive_input_assumed": "warning",
    "exclusive_input_assumed": "warning",
}
ASKED = (
    "is_call", "role", "input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens", "error_type",
    "request_model", "dialect", "operation", "rollup_input_tokens", "rollup_output_tokens", "excluded_because", "flags",
    "scope", "scope_version",
)  # fmt: skip
"""The columns that `findings` reads."""
_LLM_ROLES = ("agent", "chain", "tool", "retrieval", "evaluator")


@dataclass(frozen=True)
class Finding:
    """One thing to know before the numbers are quoted."""

    code: str
    severity: Severity
    text: str
    value: float | int | None = None
    """How many rows (or which share) it is about."""


def findings(frame: pl.LazyFrame) -> list[Finding]:
    """Everything to say about a frame that `calls.mark` has marked; the gravest first."""
    # Asked together, so that a frame that is still to be marked is marked once.
    asked = [frame.select(_counts()), _flags(frame), frame.group_by("scope", "scope_version").len()]
    counts, raised, scopes = pl.collect_all(asked, engine="streaming")
    found = [*_about_calls(counts.row(0, named=True)), *_about_flags(raised), *_about_losses(scopes)]
    order = {"error": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda finding: order[finding.severity])


def _counts() -> list[pl.Expr]:
    call, role = pl.col("is_call"), pl.col("role")
    counted = call & (pl.col("input_tokens").is_not_null() | pl.col("output_tokens").is_not_null())
    succeeded = call & pl.col("error_type").is_null()
    model = pl.col("request_model").is_not_null() & pl.col("dialect").is_not_null()
    above = pl.col("rollup_output_tokens").is_not_null() | pl.col("rollup_input_tokens").is_not_null()
    rows = {
        "rows": pl.lit(True),
        "calls": call,
        "counted": counted,
        "succeeded": succeeded,
        "silent": succeeded & ~counted,
        "llm_rows": role.is_in(_LLM_ROLES) & pl.col("dialect").is_not_null(),
        "agents": role == "agent",
        "rollups": above,
        "unnamed": model & (role.is_null() | (role == "http")),
        "apart": pl.col("excluded_because") == "aside",
        "left_out": pl.col("excluded_because").is_in(["wrapper", "twin", "inner", "stream_log", "stream_request"]),
        "no_cache": counted & pl.col("cache_read_tokens").is_null() & (pl.col("operation") == "chat"),
        "no_reasoning": counted & pl.col("reasoning_tokens").is_null() & (pl.col("operation") == "chat"),
    }
    return [condition.fill_null(False).sum().alias(name) for name, condition in rows.items()]


def _about_calls(n: dict[str, int]) -> Iterator[Finding]:
    if not n["calls"] and (n["llm_rows"] or n["rollups"]):
        yield Finding(
            "no_call_spans",
            "error",
            f"{n['llm_rows']} agent, chain and tool spans, but no span of a model call: the instrumentation makes none. "
            "Add the instrumentation of the client library (for OpenAI: opentelemetry-instrumentation-genai-openai).",
            n["llm_rows"],
        )
        if n["rollups"]:
            yield Finding(
                "usage_only_in_rollups",
                "warning",
                "token sums are only on agents or chains; they are not added up",
                n["rollups"],
            )
    if n["unnamed"]:
        yield Finding(
            "uncounted_model_spans",
            "warning",
            f"{n['unnamed']} spans name a model, but nothing else says that they are calls; they are not counted",
            n["unnamed"],
        )
    if n["silent"]:
        share = n["silent"] / n["succeeded"]
        yield Finding(
            "calls_without_usage",
            "warning",
            f"{n['silent']} of {n['succeeded']} successful calls report no tokens; sums are of the others",
            share,
        )
    for code, what in (("no_cache", "cached"), ("no_reasoning", "reasoning")):
        if n[code]:
            yield Finding(
                f"{what}_tokens_unknown",
                "info",
                f"{n[code]} of {n['counted']} calls do not say how many tokens were {what}",
                n[code],
            )
    if n["left_out"]:
        yield Finding("repeated_calls", "info", f"{n['left_out']} rows repeat a call and do not count", n["left_out"])
    if n["apart"]:
        yield Finding("evaluation_calls", "info", f"{n['apart']} evaluation calls are reported apart", n["apart"])


def _flags(frame: pl.LazyFrame) -> pl.LazyFrame:
    """How many rows carry each flag; rows that were left out for another do not count."""
    stays = pl.col("is_call") | (pl.col("role") != "call").fill_null(True)
    raised = frame.filter(pl.col("flags").is_not_null() & stays).select(flag=pl.col("flags").str.split(","))
    return raised.explode("flag", empty_as_null=False).group_by("flag").len()


def _about_flags(raised: pl.DataFrame) -> Iterator[Finding]:
    for flag, rows in sorted(raised.rows()):
        yield Finding(flag, _SEVERE.get(flag, "info"), f"{flags.MEANING[flag]} ({rows} rows)", rows)


def _about_losses(scopes: pl.DataFrame) -> Iterator[Finding]:
    for scope, version, rows in scopes.sort("scope", "scope_version").rows():
        for text in losses.of(scope, version):
            yield Finding("known_loss", "info", f"{scope}: {text}", rows)
