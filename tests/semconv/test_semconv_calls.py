"""Which rows are the calls, in small trees made by hand."""

from __future__ import annotations

import polars as pl
import pytest
from made_spans import CHAT, MS, START, marked, one, span

from otel_research.semconv import findings, normalise
from otel_research.semconv.calls import mark
from otel_research.spans import schema


def test_an_interrupted_call_stays_a_call() -> None:
    """A call that never ended counts, failed as interrupted, without a duration."""
    row = one(CHAT, status="interrupted", end_ns=None)
    assert (row["is_call"], row["error_kind"], row["duration_ms"]) == (True, "interrupted", None)


def test_evaluation_calls_are_apart() -> None:
    """Calls in an `aside` block or below a known library's evaluator keep their role and do not count."""
    rows = marked(
        span(0, CHAT),
        span(1, CHAT, aside="judge"),
        span(2, {"openinference.span.kind": "EVALUATOR"}),
        span(3, CHAT, parent_span_id="s2"),
    )
    assert [row["is_call"] for row in rows] == [True, False, False, False]
    assert [row["excluded_because"] for row in rows] == [None, "aside", None, "aside"]
    assert [row["role"] for row in rows] == ["call", "call", "evaluator", "call"]


def test_a_wrapper_in_an_aside_stays_a_wrapper() -> None:
    """What is reported apart is not counted twice either."""
    outer = span(0, CHAT, aside="judge", end_ns=START + 3000 * MS)
    rows = marked(outer, span(1, CHAT, aside="judge", parent_span_id="s0", scope="another"))
    assert [row["excluded_because"] for row in rows] == ["wrapper", "aside"]


def test_an_agents_usage_is_a_rollup() -> None:
    """An agent that repeats its calls' sum has it in the rollup columns, not in the counted ones."""
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 80, "gen_ai.usage.output_tokens": 24}
    row = one(agent)
    assert (row["input_tokens"], row["rollup_input_tokens"], row["rollup_output_tokens"]) == (None, 80, 24)
    assert (row["excluded_because"], row["is_call"]) == ("rollup", False)


def test_a_call_below_a_tool_of_another_call_is_its_own() -> None:
    """A model call that runs a tool that calls a model: two calls, though one lies in the other."""
    outer = span(0, CHAT, end_ns=START + 9000 * MS)
    tool = span(1, {"gen_ai.operation.name": "execute_tool"}, parent_span_id="s0")
    inner = span(2, CHAT | {"gen_ai.usage.input_tokens": 7}, parent_span_id="s1")
    rows = marked(outer, tool, inner)
    assert [row["is_call"] for row in rows] == [True, False, True]
    assert rows[0]["flags"] == "tools_inside_call"


def test_an_embedding_inside_a_chat_is_its_own() -> None:
    """Another kind of request is another call."""
    embedding = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e", "gen_ai.usage.input_tokens": 5}
    rows = marked(span(0, CHAT, end_ns=START + 9000 * MS), span(1, embedding, parent_span_id="s0"))
    assert [row["is_call"] for row in rows] == [True, True]


def test_a_failed_attempt_inside_a_successful_call_counts_too() -> None:
    """Where the inner row only failed and the outer one has the usage, both are requests."""
    failed = {key: value for key, value in CHAT.items() if "usage" not in key}
    rows = marked(span(0, CHAT, end_ns=START + 9000 * MS), span(1, failed, parent_span_id="s0", status="error"))
    assert [row["is_call"] for row in rows] == [True, True]


def test_a_wrappers_usage_goes_to_the_inner_row() -> None:
    """Where only the wrapper has the usage, the row that counts gets it, with a flag."""
    bare = {key: value for key, value in CHAT.items() if "usage" not in key}
    rows = marked(span(0, CHAT, end_ns=START + 9000 * MS), span(1, bare, parent_span_id="s0"))
    assert [row["is_call"] for row in rows] == [False, True]
    assert (rows[1]["input_tokens"], rows[1]["output_tokens"], rows[1]["flags"]) == (40, 12, "usage_from_twin")


def test_concurrent_calls_never_merge() -> None:
    """Equal usage at the same time by one package is many calls; so is the same response id at other times."""
    rows = [span(0, CHAT | {"gen_ai.response.id": "r"}, span_id=f"c{n}", trace_id=f"t{n}") for n in range(20)]
    later = [span(9, CHAT | {"gen_ai.response.id": "r"}, span_id="late", scope="another")]
    assert [row["is_call"] for row in marked(*rows, *later)] == [True] * 21


@pytest.mark.parametrize(("first", "expected"), [(8, 3.0), (4, None), (40, None)])
def test_a_first_token_learnt_from_the_row_around_counts_from_the_inner_rows_start(
    first: int, expected: float | None
) -> None:
    """Before the inner row's start, or after its end, it is no first token of it."""
    streamed = {**CHAT, "gen_ai.request.stream": True}
    start = START - 5 * MS
    outer = span(1, {**streamed, "gen_ai.response.time_to_first_chunk": first / 1e3}, start_ns=start, scope="litellm")
    inner = span(0, streamed, parent_span_id="s1")
    rows = marked({**outer, "end_ns": START + 60 * MS}, inner)
    assert [row["is_call"] for row in rows] == [False, True]
    assert rows[1]["ttft_ms"] == expected


def test_concurrent_twins_are_matched_one_to_one() -> None:
    """Twenty simultaneous calls seen by two packages in forty traces are twenty calls."""
    rows = [
        span(0, CHAT, span_id=f"{scope}{n}", trace_id=f"{scope}{n}", scope=scope, start_ns=START + n * 1000 + side, end_ns=START + 10 * MS + n * 1000 - side)
        for n in range(20)
        for side, scope in enumerate(("a", "b"))
    ]  # fmt: skip
    assert sum(row["is_call"] for row in marked(*rows)) == 20


def test_a_circle_of_parents_ends() -> None:
    """Foreign data may name each other as parents; every call still counts once."""
    rows = marked(
        span(0, CHAT, parent_span_id="s1"), span(1, CHAT, parent_span_id="s0"), span(2, CHAT, parent_span_id="s2")
    )
    assert [row["is_call"] for row in rows] == [True, True, True]


def test_a_deep_tree_is_followed() -> None:
    """A wrapper five thousand chains above its call is still its wrapper."""
    chains = [
        span(
            n, {"openinference.span.kind": "CHAIN"}, parent_span_id=f"s{n - 1}", start_ns=START, end_ns=START + 10 * MS
        )
        for n in range(1, 5000)
    ]
    rows = marked(
        span(0, CHAT, scope="outer"),
        *chains,
        span(5000, CHAT, parent_span_id="s4999", start_ns=START, end_ns=START + 9 * MS),
    )
    assert (rows[0]["excluded_because"], rows[-1]["is_call"]) == ("wrapper", True)


def test_http_children_are_not_calls() -> None:
    """The transport below a call is not another one."""
    rows = marked(
        span(0, CHAT, end_ns=START + 9000 * MS),
        span(1, {"http.request.method": "POST"}, parent_span_id="s0", name="POST"),
    )
    assert [(row["role"], row["is_call"]) for row in rows] == [("call", True), ("http", False)]


def test_a_frame_may_lack_columns_and_have_canonical_ones() -> None:
    """Canonical columns are computed anew, columns that are missing count as null."""
    frame = pl.DataFrame([span(0, CHAT)]).with_columns(input_tokens=pl.lit(99), is_call=pl.lit(False)).lazy()
    row = mark(normalise(frame)).collect().row(0, named=True)
    assert (row["input_tokens"], row["is_call"]) == (40, True)


def test_an_empty_frame_stays_empty() -> None:
    """No rows, all columns."""
    empty = pl.DataFrame(schema=schema.polars_schema(schema.RAW)).lazy()
    frame = mark(normalise(empty)).collect()
    assert frame.is_empty()
    assert {"is_call", "excluded_because", "input_tokens"} <= set(frame.columns)
    assert findings(frame.lazy()) == []


def test_marking_stored_columns_equals_marking_computed_ones() -> None:
    """Whether canonical columns come from a store or are made on the way, the calls are the same."""
    raw = pl.DataFrame(
        [span(n % 3, CHAT, span_id=f"s{n}", scope=f"scope{n % 2}") for n in range(12)],
        schema=schema.polars_schema(schema.RAW),
    )
    stored = normalise(raw.lazy()).collect()
    assert mark(stored.lazy()).collect().equals(mark(normalise(raw.lazy())).collect())


def request(
    number: int, after_ms: int, lasts_ms: int, address: str = "https://api.x/v1/chat", **columns: object
) -> dict[str, object]:
    begin = START + after_ms * MS
    told = {"http.request.method": "POST", "url.full": address, "http.response.status_code": 200}
    times = {"start_ns": begin, "end_ns": begin + lasts_ms * MS, "parent_span_id": "s0"}
    return span(number, told, scope="opentelemetry.instrumentation.httpx", **times | columns)


def test_retries_inside_a_call_are_attempts_and_time_in_back_off() -> None:
    """Each HTTP request below a call is an attempt; the time in which none was under way is back-off, not work."""
    rows = marked(
        span(0, CHAT, end_ns=START + 1000 * MS),
        request(1, 50, 100),
        request(2, 400, 100),
        request(3, 800, 150),
        request(4, 10, 5, address="https://login.x/token"),
    )
    assert (rows[0]["attempts"], rows[0]["backoff_ms"], rows[0]["duration_ms"]) == (3, 550.0, 1000.0)
    assert [row["is_call"] for row in rows] == [True, False, False, False, False]


def test_attempts_that_overlap_wait_for_nothing() -> None:
    """A hedged request does not make back-off negative, and one request is no retry."""
    rows = marked(span(0, CHAT, end_ns=START + 400 * MS), request(1, 0, 300), request(2, 100, 250))
    assert (rows[0]["attempts"], rows[0]["backoff_ms"]) == (2, 0.0)
    once = marked(span(0, CHAT, end_ns=START + 400 * MS), request(1, 0, 300))
    assert (once[0]["attempts"], once[0]["backoff_ms"]) == (None, None)


def test_retries_below_a_wrapper_belong_to_the_row_that_counts() -> None:
    """Whichever of two rows stands for a call has its attempts; a request below a tool is not the call's."""
    outer = span(0, CHAT, end_ns=START + 1000 * MS)
    inner = span(1, CHAT, scope="another", parent_span_id="s0", start_ns=START, end_ns=START + 999 * MS)
    tool = span(2, {"gen_ai.operation.name": "execute_tool"}, parent_span_id="s1", start_ns=START, end_ns=START + 5)
    rows = marked(
        outer, inner, tool, request(3, 0, 100, parent_span_id="s1"), request(4, 300, 100, parent_span_id="s1"),
        request(5, 0, 1, parent_span_id="s2"),
    )  # fmt: skip
    assert [(row["is_call"], row["attempts"], row["backoff_ms"]) for row in rows[:2]] == [
        (False, None, None),
        (True, 2, 200.0),
    ]
