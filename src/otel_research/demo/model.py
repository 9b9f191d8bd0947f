"""What the server answers: a pure function of seed, request and attempt.

No clock, no I/O and no shared state here, so the same seed and the same requests give the
same answers, tokens, failures and latencies in every process.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping
from typing import Any

import msgspec

from otel_research.demo.profiles import Faults, ModelProfile
from otel_research.demo.questions import solve

_WORDS = "take the larger part then add what remains check each digit and state the result".split()  # noqa: SIM905
_CHARACTERS_PER_TOKEN = 4
_MESSAGE_OVERHEAD = 4
"""Tokens that the chat format itself costs per message, as real tokenisers count it."""


class Tool(msgspec.Struct, frozen=True):
    """A function the caller offers: its name and the JSON schema of its arguments."""

    name: str
    parameters: dict[str, Any]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request in no protocol's words."""

    model: str
    texts: tuple[str, ...]
    """Every text of the conversation, oldest first."""
    question: str
    """The last text that the user wrote."""
    body_hash: str
    tools: tuple[Tool, ...] = ()
    call_tool: str | None = None
    """Name of the offered tool that the answer has to call; None: answer in words."""
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one answer; `input` includes `cached`, `output` includes `reasoning`."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0


class ToolCall(msgspec.Struct, frozen=True):
    """A call the model asks the caller to make."""

    name: str
    arguments: dict[str, Any]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything decided about one answer before the first byte of it is sent."""

    status: int
    delay_ms: float
    """Until the whole answer is there."""
    first_token_ms: float
    """Until its first piece is there, where it is streamed."""
    id: str
    model: str
    """The dated model name that the answer carries."""
    text: str = ""
    tool_call: ToolCall | None = None
    finish: str = "stop"
    usage: Usage = Usage()
    retry_after_ms: int | None = None

    @property
    def is_failure(self) -> bool:
        """The answer is an error."""
        return self.status != 200


def body_hash(path: str, body: Mapping[str, Any]) -> str:
    """A name for the request that does not depend on the order of its keys."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(f"{path}\n{canonical}".encode()).hexdigest()


def count_tokens(texts: tuple[str, ...]) -> int:
    """Tokens of a conversation: about four characters each, plus the format's own."""
    return sum(max(1, math.ceil(len(text) / _CHARACTERS_PER_TOKEN)) + _MESSAGE_OVERHEAD for text in texts)


def plan(
    ask: Ask,
    profile: ModelProfile,
    *,
    seed: int,
    attempt: int = 0,
    failed_before: bool = False,
    faults: Faults | None = None,
    answers: Mapping[str, str] | None = None,
) -> Plan:
    """Decide the answer to the `attempt`-th arrival (from 0) of a request.

    `answers` maps a question to its right answer where it is not a sum.
    """
    faults = faults or Faults()
    rng = random.Random(f"{seed}|{ask.body_hash}|{attempt}")
    delay = _latency_ms(rng, profile) * (faults.slow_factor if rng.random() < faults.slow else 1.0)
    identity = f"{rng.getrandbits(96):024x}"
    status = _status(rng, faults, failed_before)
    if status != 200:
        # A refusal is quick: it costs no generation.
        quick = min(delay, 25.0)
        return Plan(
            status=status,
            delay_ms=quick,
            first_token_ms=quick,
            id=identity,
            model=profile.served,
            retry_after_ms=faults.retry_after_ms,
        )
    text, call, finish = _content(rng, ask, profile, seed, answers or {})
    return Plan(
        status=200,
        delay_ms=delay,
        first_token_ms=delay * rng.uniform(0.25, 0.5),
        id=identity,
        model=profile.served,
        text=text,
        tool_call=call,
        finish=finish,
        usage=_usage(rng, ask, profile, text, call),
    )


def _latency_ms(rng: random.Random, profile: ModelProfile) -> float:
    body = profile.median_ms * math.exp(profile.sigma * rng.gauss(0, 1))
    factor = profile.tail_factor * min(rng.paretovariate(1.5), 10.0)
    return body * factor if rng.random() < profile.tail else body


def _status(rng: random.Random, faults: Faults, failed_before: bool) -> int:
    total = faults.rate_limit + faults.server_error
    if total == 0 or rng.random() >= (faults.persistence if failed_before else total):
        return 200
    return 429 if rng.random() < faults.rate_limit / total else 500


def _content(
    rng: random.Random, ask: Ask, profile: ModelProfile, seed: int, answers: Mapping[str, str]
) -> tuple[str, ToolCall | None, str]:
    """Text, tool call and finish reason."""
    if ask.call_tool is not None:
        tool = next(tool for tool in ask.tools if tool.name == ask.call_tool)
        return "", ToolCall(tool.name, _arguments(rng, tool, ask.question)), "tool_calls"
    words = max(1, round(rng.gauss(profile.words, profile.words / 4)))
    preamble = " ".join(rng.choice(_WORDS) for _ in range(words))
    text = f"{preamble}. Answer: {_answer(rng, ask.question, profile, seed, answers)}"
    if ask.max_tokens is not None and len(text) > ask.max_tokens * _CHARACTERS_PER_TOKEN:
        return text[: ask.max_tokens * _CHARACTERS_PER_TOKEN], None, "length"
    return text, None, "stop"


def _answer(rng: random.Random, question: str, profile: ModelProfile, seed: int, answers: Mapping[str, str]) -> str:
    known = answers.get(question)
    right = int(known) if known is not None and known.lstrip("-").isdigit() else solve(question)
    is_right = rng.random() < _probability_right(question, profile, seed)
    if right is None:
        return (known if is_right else "I do not know") if known is not None else question[:200]
    return str(right if is_right else right + _mistake(rng, question, seed))


def _probability_right(question: str, profile: ModelProfile, seed: int) -> float:
    """Accuracy, shifted by the question's difficulty: hard questions are hard for every model."""
    if profile.accuracy in (0.0, 1.0):
        return profile.accuracy
    difficulty = random.Random(f"difficulty|{seed}|{question}").gauss(0, 0.8)
    logit = math.log(profile.accuracy / (1 - profile.accuracy)) - difficulty
    return 1 / (1 + math.exp(-logit))


def _mistake(rng: random.Random, question: str, seed: int) -> int:
    """How far off a wrong answer is: half of the time the question's own popular mistake."""
    slips = (-20, -10, -2, -1, 1, 2, 10, 20)
    popular = random.Random(f"mistake|{seed}|{question}").choice(slips)
    return popular if rng.random() < 0.5 else rng.choice(slips)


def _arguments(rng: random.Random, tool: Tool, question: str) -> dict[str, Any]:
    """A value for every required property of the tool's schema."""
    properties = tool.parameters.get("properties", {})
    required = tool.parameters.get("required", list(properties))
    return {name: _value(rng, properties.get(name, {}), question) for name in required}


def _value(rng: random.Random, schema: Mapping[str, Any], question: str) -> Any:
    if schema.get("enum"):
        return rng.choice(schema["enum"])
    kind = schema.get("type")
    simple: dict[Any, Any] = {
        "integer": rng.randint(0, 99),
        "number": round(rng.uniform(0, 99), 2),
        "boolean": rng.random() < 0.5,
        "array": [],
        "object": {},
        "null": None,
    }
    return simple.get(kind, question[:120])


def _usage(rng: random.Random, ask: Ask, profile: ModelProfile, text: str, call: ToolCall | None) -> Usage:
    written = text if call is None else call.name + json.dumps(call.arguments)
    spoken = max(1, math.ceil(len(written) / _CHARACTERS_PER_TOKEN))
    reasoning = max(1, round(rng.gauss(profile.reasoning, profile.reasoning / 4))) if profile.reasoning else 0
    total = count_tokens(ask.texts)
    # Providers cache in blocks; a prompt shorter than a block is never cached.
    cached = total * 3 // 4 // 16 * 16 if rng.random() < profile.cache_rate else 0
    return Usage(input=total, output=spoken + reasoning, cached=cached, reasoning=reasoning)


def embedding(seed: int, text: str, dimensions: int) -> list[float]:
    """A unit vector that depends on the seed and the text alone."""
    rng = random.Random(f"embedding|{seed}|{text}")
    vector = [rng.gauss(0, 1) for _ in range(dimensions)]
    length = math.sqrt(sum(part * part for part in vector))
    return [part / length for part in vector]
