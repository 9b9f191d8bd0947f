"""Claude Code's own spans: counts, times and failures under plain words, which mean these things in its scope only."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

from otel_research.semconv.dialect import AGENT, CALL, TOOL, Attributes, Dialect, words

SCOPE = "com.anthropic.claude_code"
_PREFIX = "claude_code."
ROLES = {f"{_PREFIX}interaction": AGENT, f"{_PREFIX}llm_request": CALL, f"{_PREFIX}tool": TOOL}


def told(scope: pl.Series, attributes: pl.Series) -> pl.Series:
    """The attributes, with this scope's plain words under a name that nobody else uses."""
    is_its = scope.str.starts_with(SCOPE).fill_null(False)
    if not is_its.any():
        return attributes
    places = is_its.arg_true()
    renamed = [_renamed(text) for text in attributes.gather(places)]
    return attributes.clone().scatter(places, pl.Series(renamed, dtype=pl.String))


def _renamed(text: str | None) -> str | None:
    try:
        given = msgspec.json.decode(text or "{}")
        plain = {key if "." in key else _PREFIX + key: value for key, value in given.items()}
        return msgspec.json.encode(plain | _failed(given) | _resent(given)).decode()
    except (msgspec.DecodeError, RecursionError, AttributeError):
        return text


def _failed(given: dict[str, Any]) -> dict[str, Any]:
    """A failure is `success: false`; what it was is an HTTP status or a sentence."""
    if given.get("success") is not False and given.get("error") is None:
        return {}
    return {f"{_PREFIX}error_type": str(given.get("status_code") or "error")}


def _resent(given: dict[str, Any]) -> dict[str, Any]:
    """The attempt it ended with counts from 1."""
    attempt = given.get("attempt")
    return {f"{_PREFIX}resends": attempt - 1} if isinstance(attempt, int) and attempt > 0 else {}


def role(attributes: Attributes) -> pl.Expr:
    """By the span's name; the steps inside a tool are not said to be anything."""
    return pl.when(pl.col("scope").str.starts_with(SCOPE)).then(words(pl.col("name"), ROLES))


DIALECT = Dialect(
    name="claude_code",
    versions="Claude Code 2.1.114-2.1.266 (its documented attributes and published exports)",
    role=role,
    scopes=(SCOPE,),
    aliases={
        "request_model": (f"{_PREFIX}model",),
        "fresh_input_tokens": (f"{_PREFIX}input_tokens",),
        "output_tokens": (f"{_PREFIX}output_tokens",),
        "cache_read_tokens": (f"{_PREFIX}cache_read_tokens",),
        "cache_write_tokens": (f"{_PREFIX}cache_creation_tokens",),
        "ttft_ms": (f"{_PREFIX}ttft_ms",),
        "finish_reason": (f"{_PREFIX}stop_reason",),
        "error_type": (f"{_PREFIX}error_type",),
        "error_message": (f"{_PREFIX}error",),
        "http_status": (f"{_PREFIX}status_code",),
        "resends": (f"{_PREFIX}resends",),
        "tool_name": (f"{_PREFIX}tool_name",),
    },
    known=(_PREFIX, "span.type", "llm_request.", "interaction.", "organization.", "terminal.", "app."),
)
