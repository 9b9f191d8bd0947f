"""What of a span is about a call, and what is what people and models wrote: the knowledge behind `content="drop"`.

An allow-list. A text may stay under a key that the canonical vocabulary reads as a name, a count or a kind, or under a
key of the conventions that never holds prose; and only if it looks like a name. Of JSON texts that hold both, only the
parts that are read stay. Everything else that is text, bytes, a list or a map may be anything, so it goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from otel_research.semconv import dialects, failures
from otel_research.semconv.attributes import row_of
from otel_research.semconv.evaluations import SIGNS

PROSE = ("error_message", "failure_reason")
"""Fields whose keys hold sentences."""
_WRITTEN = frozenset({
    "llm.prompts.0.prompt.text", "exception.message", "exception.stacktrace", "braintrust.scores", "assertions",
    "mistral_ai.error.message", "name", "url.full", "gen_ai.openai.api_base",
})  # fmt: skip
"""Keys that are read, and hold what somebody wrote."""

_HARMLESS = re.compile(
    r"""(?x) ^(?:
      experiment\.(?!trial\.failure_reason) [\w.]+ | session\.id | user\.id | enduser\.id
    | (?:server|client|network|net|peer|rpc|otel|telemetry|service|cloud|host|os|k8s|container|faas|deployment|device)
      \. [\w.]+
    | process\.(?:pid|parent_pid|owner|runtime\.[\w.]+|executable\.name) | thread\.(?:id|name)
    | code\.(?:function(?:\.name)?|namespace|filepath|file\.path|lineno|line\.number)
    | http\.(?:request\.method|method|response\.status_code|status_code|route|scheme|flavor|host) | url\.scheme
    | db\.(?:system(?:\.name)?|operation(?:\.name)?|name|namespace|collection\.name|sql\.table)
    | exception\.(?:type|escaped) | error\.(?:type|code) | aws\.request_id | aws\.region
    | gen_ai\.(?:system|provider\.name|operation\.name|span\.kind|output\.type|token\.type|framework|workflow\.name)
    | gen_ai\.(?:agent\.(?:id|name|version)|tool\.(?:name|type|call\.id)|conversation\.id|data_source\.id)
    | gen_ai\.evaluation\.(?:name|score\.(?:value|label)) | gen_ai\.request\.encoding_formats | event\.name
    | (?:openai|gen_ai\.openai)\.(?:api\.type|(?:request|response)\.service_tier|response\.system_fingerprint)
    | (?:input|output)\.mime_type | logfire\.(?:span_type|pending_parent_id) | langsmith\.(?:span\.(?:id|kind)|trace\.session_id)
    | (?:annotations|evaluations)\.\d+\.(?:annotation|evaluation)\.(?:name|score|label|annotator_kind)
    | llm\.(?:input_messages|output_messages)\.\d+\.message\.role | gen_ai\.(?:prompt|completion)\.\d+\.(?:role|finish_reason)
    | (?:measurement|hedging|ensemble)\.[\w.]+
    | model_dict\.(?:class|model)_name | response\.raw\.(?:model|id|service_tier|stop_reason) | span_id
    )$"""
)
"""Keys of the conventions, beside those that are read, whose texts are names, kinds and addresses."""

_EVENT = re.compile(
    r"^(?:exception|(?:gen_ai|ai|llm|mlflow)\.[\w.-]+|First Token Stream Event|(?:LLMChat|LLMCompletion|Embedding)(?:Start|End)Event)$"
)
"""Names of events that instrumentations give; a program's own may say anything."""
_NAME = re.compile(r"^[^\s]{0,128}$|^[\w.<>'\[\]\"()/:@+-]{1,64}(?: [\w.<>'\[\]\"()/:@+-]{1,64}){0,3}$")
"""At most four words in ordinary letters, or one of any: names of models, tools, agents and classes."""
_CLASS = re.compile(r"^\s*([A-Za-z_][\w.]*(?:Error|Exception|Timeout|Interrupt|Exit))\b")
_STATUS = re.compile(r"(?i)(?:code|status|http)\D{0,12}([45]\d\d)\b")
_LONGEST_NAME = 256


@lru_cache(maxsize=1)
def _read() -> frozenset[str]:
    """Keys that the vocabulary reads as names, counts or kinds."""
    prose = {key for field in PROSE for key in dialects.keys_of(field)}
    inside = {*dialects.json_paths(), *dialects.numbers_in_text()}
    return dialects.attribute_keys() - prose - inside - _WRITTEN - frozenset(SIGNS) | {
        sign for sign in SIGNS if sign.endswith("name")
    }


@lru_cache(maxsize=16_384)
def is_harmless(key: str) -> bool:
    """Whether a text under this key is a name, a kind or an address, whoever wrote it."""
    return key not in _WRITTEN and (key in _read() or _HARMLESS.match(key) is not None)


def kept(key: str, value: Any) -> Any:
    """The value, or what of it may stay; None where nothing may."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        if is_harmless(key):
            return value if is_name(value) else None
        return _parts(key, value)
    if isinstance(value, list | tuple) and is_harmless(key):
        return value if all(not isinstance(one, str) or is_name(one) for one in value) and _is_flat(value) else None
    return None


def is_name(text: str) -> bool:
    """Whether the text may be a name rather than something that somebody said."""
    return len(text) <= _LONGEST_NAME and _NAME.match(text) is not None


def _is_flat(values: Any) -> bool:
    return all(one is None or isinstance(one, str | bool | int | float) for one in values)


def _parts(key: str, text: str) -> str | None:
    """Of a JSON text (or a dictionary as Python prints it) the parts that are read."""
    paths, words = _inside(key)
    if paths:
        whole = row_of(text)
        found: dict[str, Any] = {}
        for path in paths if whole is not None else ():
            value = _at(whole, path.split("."))
            if isinstance(value, bool | int | float) or (isinstance(value, str) and is_name(value)):
                _put(found, path.split("."), value)
        return json.dumps(found) if found else None
    if words:
        told = [f"'{word}': {at[1]}" for word in words if (at := re.search(rf"'{word}': (\d+)", text))]
        return "{" + ", ".join(told) + "}" if told else None
    return None


@lru_cache(maxsize=16_384)
def _inside(key: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return dialects.json_paths().get(key, ()), dialects.numbers_in_text().get(key, ())


def _at(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if step == "0" and isinstance(value, list):
            value = value[0] if value else None
        elif isinstance(value, Mapping):
            value = value.get(step)
        else:
            return None
    return value


def _put(into: dict[str, Any], steps: list[str], value: Any) -> None:
    """Rebuild the path; a list's first element stands in a list of one."""
    node: Any = into
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        below: Any = value if following is None else ([{}] if following == "0" else {})
        if step == "0":
            if following is None:
                node[0] = value
            node = node[0]
            continue
        node = node.setdefault(step, below)
        if following == "0" and not isinstance(node, list):
            return


@lru_cache(maxsize=1)
def _messages() -> frozenset[str]:
    return frozenset({"exception.message", *(key for field in PROSE for key in dialects.keys_of(field))})


def is_message(key: str) -> bool:
    """Whether an error's message stands under this key."""
    return key in _messages()


def kept_message(text: str | None) -> str | None:
    """Of an error's message what the taxonomy needs: the class in front, an HTTP status, the kind its words betray."""
    if not text:
        return text
    name, status = _CLASS.match(text), _STATUS.search(text)
    parts = [name[1] if name and is_name(name[1]) else None, f"status {status[1]}" if status else None]
    kind = next((kind for kind, pattern in failures.KINDS if re.search(pattern, text)), None)
    return ": ".join(part for part in (*parts, kind) if part) or None


def is_event_name(name: str) -> bool:
    """Whether an event's name is an instrumentation's."""
    return _EVENT.match(name) is not None and is_name(name.replace(" ", "_"))


def is_span_name(name: str) -> bool:
    """Whether a span's name can be one: a line, not a text."""
    return len(name) <= _LONGEST_NAME and "\n" not in name
