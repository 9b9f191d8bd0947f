"""Attribute values of every kind, as JSON text and as msgpack, without loss.

OpenTelemetry allows what JSON cannot hold: bytes, NaN and infinities, integers of any
size, text with lone surrogates. Those become a one-key object that names the type:

    {"$bytes": "<base64>"}   {"$float": "NaN" | "Infinity" | "-Infinity"}
    {"$int": "<decimal>"}    {"$text": "<text with \\udcXX escapes>"}    {"$repr": "<repr>"}

A user's own one-key mapping that looks like such a tag is wrapped as {"$map": ...}, so that
reading is never ambiguous. One bad value never loses its neighbours or its span.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_INT64 = range(-(2**63), 2**63)
_TAGS = frozenset({"$bytes", "$float", "$int", "$text", "$map", "$repr"})
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder().decode
DEEPEST = 64
"""Nesting beyond this is kept as text: a cyclic or absurd value must not end the program."""


def to_json(values: Mapping[str, Any] | Sequence[Any]) -> str:
    """The mapping (or sequence) as JSON text; `from_json` gives equal values back (tuples as lists)."""
    if isinstance(values, Mapping) and is_plain(values):
        try:
            return _encode(values if type(values) is dict else dict(values)).decode()
        except (UnicodeEncodeError, TypeError, ValueError):
            pass
    return _encode(tagged(values)).decode()


def to_json_each(many: Sequence[Mapping[str, Any]]) -> list[str]:
    """`to_json` of each; those that JSON holds as they are in one go, which is three times as fast."""
    plain = [type(each) is dict and is_plain(each) for each in many]
    try:
        lines = _encode_lines([each for each, is_easy in zip(many, plain, strict=True) if is_easy]).decode()
    except (UnicodeEncodeError, TypeError, ValueError):
        return [to_json(each) for each in many]
    # No text in JSON holds a line break as it is.
    texts = iter(lines.split("\n"))
    return [next(texts) if is_easy else to_json(each) for each, is_easy in zip(many, plain, strict=True)]


def from_json(text: str) -> Any:
    """The values that `to_json` was given."""
    return untagged(_decode(text))


def is_plain(values: Mapping[str, Any]) -> bool:
    """Whether JSON holds every value as it is (text is not inspected: the encoder refuses bad text)."""
    for key, value in values.items():
        kind = type(value)
        if kind is str or kind is bool:
            continue
        if kind is int:
            if value not in _INT64:
                return False
        elif kind is float:
            if not math.isfinite(value):
                return False
        elif value is not None and not (kind in (tuple, list) and _is_plain_sequence(value)):
            return False
        if type(key) is not str:
            return False
    # A top-level object is never read as a tag, so its keys need no check.
    return True


def _is_plain_sequence(values: Sequence[Any]) -> bool:
    for value in values:
        kind = type(value)
        if kind is str or kind is bool or value is None:
            continue
        if kind is int and value in _INT64:
            continue
        if kind is float and math.isfinite(value):
            continue
        return False
    return True


def tagged(value: Any, depth: int = 0, *, top: bool = True) -> Any:
    """The value in terms that JSON and msgpack hold, with tags where needed."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value) if value in _INT64 else {"$int": str(int(value))}
    if isinstance(value, float):
        return _float(float(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    if depth >= DEEPEST:
        return {"$repr": _safe_repr(value)}
    if isinstance(value, Mapping):
        return _mapping(value, depth, top)
    if isinstance(value, (Sequence, set, frozenset)):
        return [tagged(item, depth + 1, top=False) for item in value]
    return {"$repr": _safe_repr(value)}


def _mapping(value: Mapping[Any, Any], depth: int, top: bool) -> dict[str, Any]:
    plain = {_key(key): tagged(item, depth + 1, top=False) for key, item in value.items()}
    if not top and len(plain) == 1 and next(iter(plain)) in _TAGS:
        return {"$map": plain}
    return plain


def _key(key: Any) -> str:
    return key.encode("utf-8", "backslashreplace").decode() if isinstance(key, str) else str(key)


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        escaped = value.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()
        return {"$text": escaped}
    return str(value) if type(value) is not str else value


def _float(value: float) -> Any:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return {"$float": "NaN"}
    return {"$float": "Infinity" if value > 0 else "-Infinity"}


def _safe_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}: repr failed>"
    return text.encode("utf-8", "backslashreplace").decode()[:10_000]


def untagged(value: Any, *, top: bool = True) -> Any:
    """The inverse of `tagged`; `$repr` stays text, because the object is gone."""
    if isinstance(value, list):
        return [untagged(item, top=False) for item in value]
    if not isinstance(value, dict):
        return value
    if not top and len(value) == 1:
        ((key, content),) = value.items()
        if key in _TAGS:
            return _untag(key, content)
    return {key: untagged(item, top=False) for key, item in value.items()}


def _untag(key: str, content: Any) -> Any:
    if key == "$map":
        return {name: untagged(item, top=False) for name, item in content.items()}
    if key == "$bytes":
        return base64.b64decode(content)
    if key == "$float":
        return float(content)
    if key == "$int":
        return int(content)
    if key == "$text":
        return content.encode("ascii", "backslashreplace").decode("unicode_escape")
    return content
