"""Our own rows, odd values, words and units: one row at a time."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from made_spans import CHAT, START, marked, one, span

from otel_research.semconv import normalise, scores, unmapped
from otel_research.spans import schema


def own(attributes: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return one(attributes, scope="otel_research", **columns)


def test_a_measurement_with_model_and_duration_is_a_call() -> None:
    """A record that names a model and took time counts as a call and keeps the role "record"."""
    row = own(
        {
            "experiment.row": "record",
            "model": "gpt-4",
            "measurement.duration_ms": 12.5,
            "measurement.cost_usd": 0.25,
            "measurement.input_tokens": 7,
            "measurement.output_tokens": 3,
            "measurement.success": False,
        }
    )
    assert (row["role"], row["is_call"], row["request_model"]) == ("record", True, "gpt-4")
    assert (row["duration_ms"], row["reported_cost_usd"], row["input_tokens"], row["output_tokens"]) == (
        12.5,
        0.25,
        7,
        3,
    )
    assert (row["error_type"], row["error_kind"]) == ("failure", "other")


def test_a_measurement_without_duration_is_a_point_in_time() -> None:
    """A record without a duration has no duration and is no call, whatever its span's ends are."""
    row = own({"experiment.row": "record", "model": "gpt-4", "measurement.accuracy": 0.9})
    assert (row["role"], row["duration_ms"], row["is_call"], row["error_type"]) == ("record", None, False, None)


def test_microseconds_are_understood() -> None:
    """`duration_us` is a duration too."""
    assert own({"experiment.row": "record", "measurement.duration_us": 1500})["duration_ms"] == 1.5


def test_a_score_row_carries_name_value_and_label() -> None:
    """A score has its three columns, no duration, and is no call."""
    row = own(
        {
            "experiment.row": "score",
            "gen_ai.evaluation.name": "accuracy",
            "gen_ai.evaluation.score.value": 1,
            "gen_ai.evaluation.score.label": "right",
        }
    )
    assert (row["role"], row["score_name"], row["score_value"], row["score_label"]) == (
        "score",
        "accuracy",
        1.0,
        "right",
    )
    assert (row["duration_ms"], row["is_call"]) == (None, False)


@pytest.mark.parametrize(
    ("attributes", "columns", "error"),
    [
        ({"experiment.trial.outcome": "failed", "experiment.trial.failure_reason": "empty answer"}, {}, "empty answer"),
        ({"experiment.trial.outcome": "failed"}, {}, "failed"),
        ({"experiment.trial.outcome": "ok"}, {}, None),
        ({}, {"status": "error", "status_message": "ValueError: no"}, "ValueError"),
    ],
)
def test_a_failed_trial_says_why(attributes: dict[str, Any], columns: dict[str, Any], error: str | None) -> None:
    """A trial failed by its outcome or by an exception; its reason is the error."""
    row = own({"experiment.row": "trial", **attributes}, **columns)
    assert (row["role"], row["error_type"], row["duration_ms"]) == ("trial", error, 10.0)


def test_only_our_own_scope_makes_our_rows() -> None:
    """Somebody else's attribute `experiment.row` means nothing."""
    assert one({"experiment.row": "trial"})["role"] is None


@pytest.mark.parametrize(
    ("odd", "is_broken"),
    [
        ('{"gen_ai.usage.input_tokens":', True),
        ("not json, but gen_ai.request.model", True),
        ('["gen_ai.request.model"]', True),
        ("", False),
        ("null", False),
        (None, False),
        ('{"gen_ai.request.model":{"a":{"b":[1]}},"gen_ai.usage.input_tokens":"many"}', False),
        ('{"gen_ai.usage.input_tokens":[[1]],"gen_ai.response.finish_reasons":[{"x":1}]}', False),
        ('{"gen_ai.usage.input_tokens":-5,"gen_ai.request.model":true}', False),
        ('{"gen_ai.request.model":"a"},{"gen_ai.request.model":"b"}', True),
    ],
)
def test_an_odd_row_keeps_its_place_and_its_neighbours(odd: str | None, is_broken: bool) -> None:
    """A row that cannot be read loses neither itself nor the rows around it, and says so."""
    before, middle, after = marked(span(0, CHAT), span(1, odd), span(2, CHAT | {"gen_ai.usage.input_tokens": 41}))
    assert (before["input_tokens"], after["input_tokens"]) == (40, 41)
    assert (middle["span_id"], middle["attributes"], middle["input_tokens"]) == ("s1", odd, None)
    assert is_broken == ("malformed_attributes" in (middle["flags"] or ""))


@pytest.mark.parametrize(
    ("written", "read"),
    [(57, 57), (57.0, 57), ("57", 57), ("57.0", 57), (" ", None), ("None", None), (True, 1), ({"$int": "57"}, None)],
)
def test_counts_of_any_type(written: object, read: int | None) -> None:
    """Whole numbers come as integers, doubles and text; what is no number is unknown, not 0."""
    assert one(CHAT | {"gen_ai.usage.input_tokens": written})["input_tokens"] == read


def test_zeros_where_nothing_was_reported_are_unknown() -> None:
    """Input 0 and output 0 without a total mean that nobody said."""
    row = one(CHAT | {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0})
    assert (row["input_tokens"], row["output_tokens"]) == (None, None)
    assert set(row["flags"].split(",")) == {"zero_means_unknown", "usage_missing"}


@pytest.mark.parametrize(
    ("more", "counts", "flag"),
    [
        ({"gen_ai.usage.cache_read.input_tokens": 100}, (140, 12), "exclusive_input_fixed"),
        ({"gen_ai.usage.cache_read.input_tokens": 10, "gen_ai.usage.total_tokens": 62}, (50, 12), "exclusive_input_fixed"),
        ({"gen_ai.usage.cache_read.input_tokens": 10, "gen_ai.usage.total_tokens": 52}, (40, 12), None),
        ({"gen_ai.usage.reasoning.output_tokens": 5, "gen_ai.usage.total_tokens": 57}, (40, 17), "exclusive_output_fixed"),
        ({"gen_ai.usage.total_tokens": 99}, (40, 12), "total_mismatch"),
        ({"gen_ai.provider.name": "gcp.gemini", "gen_ai.usage.total_tokens": 99}, (40, 59), "exclusive_output_fixed"),
        ({"gen_ai.provider.name": "anthropic", "gen_ai.usage.cache_read.input_tokens": 9}, (40, 12), "inclusive_input_assumed"),
    ],
)  # fmt: skip
def test_tokens_mean_the_same_everywhere(more: dict[str, Any], counts: tuple[int, int], flag: str | None) -> None:
    """Cached tokens are part of the input, reasoning part of the output; changes and contradictions are flagged."""
    row = one(CHAT | more, scope="somebody.new")
    assert (row["input_tokens"], row["output_tokens"]) == counts
    assert (row["flags"] or "").replace("provider_assumed", "") == (flag or "")


@pytest.mark.parametrize(
    ("scope", "value", "ms"),
    [("openlit.x", 0.004, 4.0), ("strands.telemetry", 4, 4.0)],
)
def test_one_name_two_units(scope: str, value: float, ms: float) -> None:
    """`gen_ai.server.time_to_first_token` is seconds as a fraction and milliseconds as a whole number."""
    row = one(CHAT | {"gen_ai.server.time_to_first_token": value, "gen_ai.request.stream": True}, scope=scope)
    assert row["ttft_ms"] == ms


def test_a_span_of_the_program_itself_is_nothing() -> None:
    """A span without any known vocabulary has no role, no dialect and no model, whatever its attributes are called."""
    row = one({"model": "T-shirt", "temperature": 21, "seed": 3}, scope="my.shop")
    assert (row["role"], row["dialect"], row["request_model"], row["is_call"]) == (None, None, None, False)


@pytest.mark.parametrize(
    ("error", "message", "kind"),
    [
        ("openai.RateLimitError", None, "rate_limit"),
        ("429", None, "rate_limit"),
        ("APITimeoutError", None, "timeout"),
        ("httpx.ConnectError", None, "api_error"),
        ("<class 'openai.InternalServerError'>", None, "api_error"),
        ("botocore.errorfactory.ValidationException", None, "invalid_request"),
        ("_OTHER", "Error code: 503 - busy", "api_error"),
        ("ChatClientException", "Error code: 400 - no", "invalid_request"),
        ("asyncio.CancelledError", None, "cancelled"),
        ("ContentFilterFinishReasonError", None, "content_filter"),
        ("SomethingElse", "no idea", "other"),
    ],
)
def test_kinds_of_failure(error: str, message: str | None, kind: str) -> None:
    """Classes, codes and words of providers fall into one taxonomy; the original stays."""
    row = one(CHAT | {"error.type": error}, status="error", status_message=message)
    assert (row["error_type"], row["error_kind"]) == (error, kind)


def test_a_cancelled_reader_is_not_a_failed_call() -> None:
    """An exception event that only says that nobody read on is no failure."""
    event = {"name": "exception", "time_ns": START, "attributes": {"exception.type": "GeneratorExit"}}
    assert one(CHAT, events=json.dumps([event]))["error_type"] is None


def test_retries_inside_a_call_are_attempts() -> None:
    """Where the client says how often it sent the request again, the call has that many attempts and one more."""
    assert one(CHAT | {"http.request.resend_count": 2})["attempts"] == 3


def test_keys_nobody_knows_are_counted() -> None:
    """Unknown keys of understood spans are counted, positions in lists as one; the program's own spans are left out."""
    frame = pl.DataFrame(
        [span(0, CHAT | {"new.dialect.0.key": 1, "new.dialect.1.key": 2}), span(1, {"shop.cart": 1}, scope="my.shop")],
        schema=schema.polars_schema(schema.RAW),
    )
    assert unmapped(normalise(frame.lazy())).rows() == [("new.dialect.N.key", 1)]


def test_a_late_key_in_a_large_batch_is_found() -> None:
    """A key that only one row among thousands carries is read, wherever it stands."""
    rows = [span(0, CHAT, span_id=f"s{n}", trace_id=f"t{n}") for n in range(5000)]
    rows[4321]["attributes"] = json.dumps(
        {"llm.token_count.prompt": 5, "llm.token_count.completion": 6, "openinference.span.kind": "LLM"}
    )
    frame = normalise(pl.DataFrame(rows, schema=schema.polars_schema(schema.RAW)).lazy()).collect()
    assert frame["input_tokens"].sum() == 4999 * 40 + 5
    assert frame["dialect"][4321] == "openinference"


def evaluation(name: str, value: float, **more: object) -> dict[str, object]:
    return {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": value} | more


def test_scores_are_found_wherever_they_are_written() -> None:
    """Our rows, evaluation events (several on one span), log records as rows and evaluators' outputs are all scores."""
    results = [
        {"name": "gen_ai.evaluation.result", "time_ns": START, "attributes": evaluation("tone", 0.5)},
        {"name": "something else", "time_ns": START, "attributes": {}},
        {"name": "gen_ai.evaluation.result", "time_ns": START, "attributes": evaluation("truth", 1)},
    ]
    verdict = json.dumps({"score": 0.25, "label": "poor", "explanation": "short"})
    rows = [
        span(0, {"experiment.row": "score", **evaluation("accuracy", 1, **{"gen_ai.evaluation.explanation": "why"})}, scope="otel_research"),
        span(1, CHAT, events=json.dumps(results)),
        span(2, evaluation("logged", 0.75), name="gen_ai.evaluation.result", scope="somebody"),
        span(3, {"openinference.span.kind": "EVALUATOR", "output.value": verdict}, name="helpfulness"),
        span(4, {"openinference.span.kind": "EVALUATOR", "output.value": "no object"}),
    ]  # fmt: skip
    frame = normalise(pl.DataFrame(rows, schema=schema.polars_schema(schema.RAW)).lazy())
    found = scores(frame).sort("span_id", "name").collect()
    assert found.select("span_id", "name", "value", "label", "explanation", "source").rows() == [
        ("s0", "accuracy", 1.0, None, "why", "row"),
        ("s1", "tone", 0.5, None, None, "event"),
        ("s1", "truth", 1.0, None, None, "event"),
        ("s2", "logged", 0.75, None, None, "row"),
        ("s3", "helpfulness", 0.25, "poor", "short", "evaluator"),
    ]


@pytest.mark.parametrize(
    ("model", "response", "flag"),
    [
        ("gpt-4o-2024-08-06", "chatcmpl-1", None),
        ("gpt-4o", "chatcmpl-1", "estimated_tokens,response_model_unconfirmed"),
        ("gpt-4o", None, "response_model_unconfirmed"),
    ],
    ids=["an answer", "a stream through LiteLLM", "a stream of DSPy's own"],
)
def test_tokens_that_litellm_estimates_for_dspy_are_flagged(model: str, response: str | None, flag: str | None) -> None:
    """LiteLLM puts a stream together under the requested name and counts itself; nothing else on the span says so."""
    answer = {"gen_ai.response.model": model} | ({"gen_ai.response.id": response} if response else {})
    assert one(CHAT | answer, scope="opentelemetry.instrumentation.genai.dspy")["flags"] == flag
    assert "estimated" not in (one(CHAT | answer)["flags"] or "")


def test_langchains_setting_is_no_statement_about_a_call() -> None:
    """OpenInference writes `"stream": false` for `model.stream(...)` too: unknown. Elsewhere, and where it is true, it is believed."""

    def streaming(scope: str, told: str) -> Any:
        parameters = {"llm.invocation_parameters": f'{{"stream": {told}}}', "llm.model_name": "gpt-4o"}
        return one({"openinference.span.kind": "LLM", **parameters}, scope=scope)["streaming"]

    langchain, openai = (f"openinference.instrumentation.{name}" for name in ("langchain", "openai"))
    assert [streaming(langchain, "false"), streaming(langchain, "true")] == [None, True]
    assert [streaming(openai, "false"), streaming(openai, "true")] == [False, True]
