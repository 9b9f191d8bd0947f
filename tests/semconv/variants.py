"""Captures as other packages, other versions and other settings might have written them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Row = dict[str, Any]
Told = dict[str, Any]

OLD_NAMES = {
    "gen_ai.provider.name": "gen_ai.system",
    "gen_ai.usage.input_tokens": "gen_ai.usage.prompt_tokens",
    "gen_ai.usage.output_tokens": "gen_ai.usage.completion_tokens",
    "gen_ai.usage.cache_write.input_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_read.input_tokens": "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.reasoning.output_tokens": "gen_ai.usage.reasoning_tokens",
    "gen_ai.openai.request.seed": "gen_ai.request.seed",
}
NEW_NAMES = {
    "gen_ai.system": "gen_ai.provider.name",
    "gen_ai.usage.prompt_tokens": "gen_ai.usage.input_tokens",
    "gen_ai.usage.completion_tokens": "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens": "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_read_input_tokens": "gen_ai.usage.cache_read.input_tokens",
}
CONTENT = re.compile(
    r"messages|prompts?\b|completions?\b|content|\.value$|system_instructions|definitions|arguments|documents|entity\.(in|out)put"
)
COUNTS = re.compile(r"usage|token_?count|tokens$|tokenUsage", re.I)


def attributes(change: Callable[[Told], Told]) -> Callable[[Row], Row]:
    """A variant that changes a span's attributes."""

    def apply(row: Row) -> Row:
        told = json.loads(row["attributes"])
        return row | {"attributes": json.dumps(change(told), separators=(",", ":"), ensure_ascii=False)}

    return apply


def columns(**changed: Any) -> Callable[[Row], Row]:
    """A variant that changes a span's other fields."""
    return lambda row: row | {name: value(row) if callable(value) else value for name, value in changed.items()}


def renamed(names: Mapping[str, str]) -> Callable[[Told], Told]:
    """New names for old attributes, where the new one is not there."""
    return lambda told: {names.get(key, key) if names.get(key) not in told else key: one for key, one in told.items()}


def without(pattern: str) -> Callable[[Told], Told]:
    """Attributes whose key does not match."""
    return lambda told: {key: one for key, one in told.items() if not re.search(pattern, key)}


def numbers(write: Callable[[float], Any]) -> Callable[[Told], Told]:
    """Every number written in another way."""
    return lambda told: {
        key: write(one) if isinstance(one, int | float) and not isinstance(one, bool) else one
        for key, one in told.items()
    }


def counts(write: Callable[[float], Any]) -> Callable[[Told], Told]:
    """Every token count written in another way."""
    return lambda told: {
        key: write(one) if COUNTS.search(key) and isinstance(one, int | float) else one for key, one in told.items()
    }


def cut(length: int) -> Callable[[Told], Told]:
    """Texts cut at the SDK's limit for attribute values."""
    return lambda told: {key: one[:length] if isinstance(one, str) else one for key, one in told.items()}


HARMLESS: dict[str, Callable[[Row], Row]] = {
    "no scope version": columns(scope_version=None),
    "another scope version": columns(scope_version="99.0.0rc1"),
    "all internal": columns(kind="internal"),
    "ok instead of unset": columns(status=lambda row: "ok" if row["status"] == "unset" else row["status"]),
    "numbers as doubles": attributes(numbers(float)),
    "numbers as text": attributes(numbers(str)),
    "counts as text doubles": attributes(counts(lambda n: f"{n:.1f}")),
    "keys the other way round": attributes(lambda told: dict(reversed(told.items()))),
    "no content": attributes(lambda told: {k: v for k, v in told.items() if not CONTENT.search(k) or COUNTS.search(k)}),
    "yesterday's names": attributes(renamed(OLD_NAMES)),
    "today's names": attributes(renamed(NEW_NAMES)),
    "no server": attributes(without(r"^(server|network|url|http)\.")),
    "no finish reasons": attributes(without(r"finish_reason|stop_reason|finishReason")),
    "no answering model": attributes(without(r"response\.model")),
    "unknown attributes": attributes(lambda told: told | {"acme.usage.tokens": 10**6, "acme.model": "x"}),
    "another clock": columns(start_ns=lambda row: row["start_ns"] + 7 * 10**15, end_ns=lambda row: row["end_ns"] + 7 * 10**15, events=lambda row: re.sub(r'"time_ns":(\d+)', lambda at: f'"time_ns":{int(at[1]) + 7 * 10**15}', row["events"])),
}  # fmt: skip
"""What must change neither a call nor a count."""

HARMFUL: dict[str, Callable[[Row], Row]] = {
    "an unknown scope": columns(scope=lambda row: f"acme.{row['scope']}x"),
    "no scope": columns(scope=None, scope_version=None),
    "no response ids": attributes(without(r"response\.id$|response_id")),
    "no totals": attributes(without(r"total_?tokens|token_count\.total|client\.token\.usage|(?i:totaltokens)")),
    "no cached tokens": attributes(without(r"cache")),
    "no usage at all": attributes(without(COUNTS.pattern)),
    "no output": attributes(without(r"output_?tokens|completion_?tokens|(?i:outputtokens)|token_count\.completion")),
    "negative counts": attributes(counts(lambda n: -n)),
    "absurd counts": attributes(counts(lambda n: n * 10**12)),
    "fractions of tokens": attributes(counts(lambda n: n + 0.5)),
    "texts cut": attributes(cut(200)),
    "an unknown provider": attributes(lambda told: told | {key: "acme" for key in ("gen_ai.provider.name", "gen_ai.system") if key in told}),
    "other span names": columns(name="work"),
}  # fmt: skip
"""What loses or distorts something: every number is right, unknown, or flagged."""


def apply(rows: Iterable[Row], variant: Callable[[Row], Row]) -> list[Row]:
    """The rows in the variant."""
    return [variant(row) for row in rows]
