"""What may be written of prompts and completions; applied before anything reaches a store."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from otel_research.errors import ConfigurationError

Redact = Callable[[str, Any], Any]
Policy = Literal["full", "hash", "drop"] | Redact

# Keys under which the known instrumentations put what people and models wrote.
_CONTENT = re.compile(
    r"""(?x)
    ^gen_ai\.(input|output)\.messages | ^gen_ai\.(system_instructions|prompt|completion|content|tool\.(definitions|call\.(arguments|result)))
    | ^gen_ai\.(request|response)\.(messages|prompt|completion|content) | ^gen_ai\.(user|system|assistant|tool|choice)\b(?=.*(content|message))
    | ^(input|output)\.value$ | ^llm\.(input_messages|output_messages|prompts|completions|prompt_template)
    | ^embedding\.embeddings | ^retrieval\.documents | ^reranker\. | ^tool\.parameters | ^traceloop\.entity\.(input|output)
    | ^ai\.(prompt|response\.(text|toolCalls|object)|toolCall\.(args|result)|value|values|embedding)
    | ^langfuse\.(observation|trace)\.(input|output) | ^mlflow\.span(Inputs|Outputs) | ^(inputs|outputs|prompt|completion|content|message|messages|all_messages_events)$
    | ^(request_data|response_data|events|event\.content|event_body|body|all_messages|final_result|tool_arguments|tool_response)$
    | ^(pydantic_ai\.all_messages|model_request_parameters|haystack\.component\.(input|output)|lmnr\.span\.(input|output))
    """
)


def check_policy(policy: object) -> Policy:
    """The policy, or a clear refusal."""
    if policy in ("full", "hash", "drop") or callable(policy):
        return policy
    raise ConfigurationError(
        f"content={policy!r} is not a policy: use 'full', 'hash', 'drop' or a callable(key, value)."
    )


class Content:
    """Applies a policy to attributes. With "full" it does nothing and costs nothing (`is_full`).

    A redaction callable that raises loses the value, not the span: what could not be redacted
    must not be written.
    """

    def __init__(self, policy: Policy, on_error: Callable[[str, Exception], None]) -> None:
        self.is_full = policy == "full"
        self.redact = None if self.is_full else self.applied
        """What events and links are given to, where something may not be written."""
        self._policy = policy
        self._on_error = on_error

    def applied(self, attributes: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The attributes that may be written."""
        if attributes is None or self.is_full:
            return attributes
        if callable(self._policy):
            return {key: self._redacted(key, value) for key, value in attributes.items()}
        if self._policy == "drop":
            return {key: value for key, value in attributes.items() if not is_content(key)}
        return {key: _hashed(value) if is_content(key) else value for key, value in attributes.items()}

    def _redacted(self, key: str, value: Any) -> Any:
        try:
            return self._policy(key, value)  # type: ignore[operator]
        except Exception as error:
            self._on_error("content", error)
            return "<redaction failed>"


def is_content(key: str) -> bool:
    """Whether the attribute holds what people or models wrote."""
    return _CONTENT.match(key) is not None


def _hashed(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
