"""Failures of two packages that end together: one request only where the client has tried before."""

from __future__ import annotations

from typing import Any

import pytest
from test_semconv_written import of

CLIENT, FRAMEWORK = "@opentelemetry/instrumentation-openai", "@traceloop/instrumentation-langchain"
Failures = list[tuple[str, float, float]]


def failed(number: int, scope: str, begin: float, end: float) -> dict[str, Any]:
    told = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
    span = {"name": "chat gpt-4o", "kind": "client", "status": "error", "scope": scope, "ms": [begin, end]}
    return {**span, "trace_id": str(number), "span_id": str(number), "attributes": {**told, "error.type": "429"}}


@pytest.mark.parametrize(
    ("rows", "calls"),
    [
        pytest.param([(FRAMEWORK, 0, 1800), (CLIENT, 1, 50), (CLIENT, 1795, 1799)], 2, id="a retry"),
        pytest.param(
            [(FRAMEWORK, 0, 1800), (CLIENT, 1, 50), (CLIENT, 600, 650), (CLIENT, 1795, 1799)], 3, id="two retries"
        ),
        pytest.param([(FRAMEWORK, 0, 10_000), (CLIENT, 5000, 10_000)], 2, id="a hedged request"),
        pytest.param([(FRAMEWORK, 0, 10_000), (CLIENT, 9960, 9999)], 2, id="another way out"),
        pytest.param(
            [(FRAMEWORK, 500 * n, 10_000) for n in range(10)] + [(CLIENT, 500 * n + 200, 10_001) for n in range(10)],
            20,
            id="an outage",
        ),
    ],
)
def test_failures_that_end_together(rows: Failures, calls: int) -> None:
    marked = of([failed(number, *row) for number, row in enumerate(rows, start=1)])
    counted = marked.filter("is_call")
    assert (len(counted), counted["error_type"].count()) == (calls, calls)
