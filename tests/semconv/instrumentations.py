"""The page `docs/instrumentations.md`, made from the captures.

PYTHONPATH=src python tests/semconv/instrumentations.py > docs/instrumentations.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import captures

from otel_research.semconv import dialects, flags, losses

HEAD = """# What each instrumentation puts on its spans

Made by a test from captures of real packages (November 2026); do not edit. Every capture was compared with the
numbers of the provider: input tokens include cached ones, output tokens include reasoning. "Seen" is how many of the
calls have a span of a model call. What a package lacks is unknown (null) in our columns, never 0, and flagged where it
touches a sum; `otel-research validate` shows the flags of your own spans.

| instrumentation scope | version | packages | seen | input and output tokens | what it lacks |
|---|---|---|---|---|---|
"""
FLAGS = """
## Flags

A row carries these in its column `flags`; `validate` counts them.

| flag | meaning |
|---|---|
"""
REASONS = """
## Why a row does not count

| `excluded_because` | meaning |
|---|---|
| `wrapper` | another call below it stands for the request |
| `twin` | another instrumentation's row stands for the same request |
| `inner` | the row above it has the usage of several such rows, or it is a model server's own view of that row |
| `stream_request` | the request's row of a stream; the row logged at its end has the usage |
| `stream_log` | the row logged at the end of a stream; another row stands for the call |
| `transport` | the raw request below a call |
| `rollup` | an agent or chain that repeats the usage of the calls below it |
| `aside` | an evaluation call: it counts, but apart |
"""
VOCABULARIES = """
## Vocabularies

What the column `dialect` may say, and where each was read. Names of several mix on one span; the first with evidence is said.

| `dialect` | read from |
|---|---|
"""
DETAILS = {"cache_read_tokens": "cached tokens", "reasoning_tokens": "reasoning tokens"}
SILENT = {"usage_missing", "stream_without_usage"}


def page() -> str:
    """The whole page."""
    rows = sorted({row for name in captures.names() for row in _rows(name)})
    meanings = [f"| `{flag}` | {meaning} |" for flag, meaning in flags.MEANING.items()]
    read = [f"| `{dialect.name}` | {dialect.versions} |" for dialect in dialects.DIALECTS]
    parts = (HEAD, *rows, FLAGS, *meanings, REASONS, VOCABULARIES, *read)
    return "".join(part if part.endswith("\n") else part + "\n" for part in parts)


def _rows(name: str) -> Iterator[str]:
    told = captures.truth()[name]
    seen, calls = len(captures.seen(name)) if captures.pairs(name) else 0, told["calls"]
    pairs = captures.pairs(name)
    silent = sum(
        pair.call["usage_reported"] and pair.call["input_tokens_total"] is not None and bool(pair.flags & SILENT)
        for pair in pairs
    )
    doubtful = sum(bool(pair.flags & {"possible_partial_usage", "tools_inside_call"}) for pair in pairs)
    words = ["exact"] if pairs else ["none"]
    if silent:
        words.append(f"{silent} unknown")
    if doubtful:
        words.append(f"{doubtful} flagged")
    scopes = _scopes(name)
    cells = (
        " + ".join(f"`{scope}`" for scope, _ in scopes),
        " + ".join(version or "-" for _, version in scopes),
        ", ".join(_packages(told)),
        f"{seen} of {len(calls)}",
        ", ".join(words),
        "; ".join(_lacks(name, scopes)) or "nothing seen",
    )
    yield f"| {' | '.join(cells)} |"


def _packages(told: dict[str, Any]) -> Iterator[str]:
    yield from (
        f"{package} {version}"
        for package, version in told["packages"].items()
        if not package.startswith("opentelemetry-sdk")
    )
    if told["variant"] not in (None, "default", "nested"):
        yield f"({told['variant']})"


def _scopes(name: str) -> list[tuple[str, str | None]]:
    return captures.raw(name).select("scope", "scope_version").unique().sort("scope").rows()


def _lacks(name: str, scopes: list[tuple[str, str | None]]) -> Iterator[str]:
    unseen = Counter(call["operation"] for call in captures.truth()[name]["calls"] if call not in captures.seen(name))
    for operation, count in sorted(unseen.items()):
        yield f"a span for {count} {operation} call{'s' if count > 1 else ''}"
    yield from (
        what
        for column, what in DETAILS.items()
        if any(
            pair.row[column] is None and pair.call[captures.COUNTS[column]] and not pair.flags & SILENT
            for pair in captures.pairs(name)
        )
    )
    pairs = [pair for pair in captures.pairs(name) if not pair.call["error"]]
    flagged = Counter(flag for pair in pairs for flag in pair.flags)
    for flag, what in (
        ("request_model_from_response", "the requested model (only the answering one)"),
        ("model_prefix_lost", "the model's vendor"),
        ("response_model_unconfirmed", "the answering model on some calls"),
        ("provider_assumed", "the provider on some calls"),
    ):
        if flagged[flag]:
            yield what
    streams = [pair for pair in pairs if pair.call["streaming"]]
    if streams and all(pair.row["ttft_ms"] is None for pair in streams):
        yield "time to first token"
    yield from (text for scope, version in scopes for text in losses.of(scope, version))


if __name__ == "__main__":
    print(page(), end="")
