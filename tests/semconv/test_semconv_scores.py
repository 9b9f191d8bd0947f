"""Scores and judges: every place a result is written in, and which spans judge instead of work."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from made_spans import CHAT, START, marked, one, span

from otel_research.analysis.scored import measurements
from otel_research.analysis.trials import trials
from otel_research.semconv import normalise, scores
from otel_research.semconv.calls import mark
from otel_research.spans import schema

JUDGES = (
    ({"openinference.span.kind": "EVALUATOR", "output.value": '{"score": 0.5}'}, "openinference.x", "tone", 0.5),
    ({"openinference.span.kind": "EVALUATOR", "output.value": '[{"name": "a", "score": 1, "explanation": "so"}]'}, "phoenix.evals.tracing", "a", 1.0),
    ({"langfuse.observation.type": "evaluator", "langfuse.observation.output": '{"value": 0.25, "comment": "c"}'}, "langfuse-sdk", "tone", 0.25),
    ({"mlflow.spanType": '"JUDGE"', "mlflow.spanOutputs": '{"value": true, "rationale": "r"}'}, "mlflow.tracing", "tone", 1.0),
    ({"lmnr.span.type": "EVALUATOR", "lmnr.span.output": '{"accuracy": 0.75}'}, "lmnr.tracer", "accuracy", 0.75),
    ({"langwatch.span.type": "evaluation", "langwatch.output": '{"type": "x", "value": {"passed": true, "score": 0.5}}'}, "langwatch", "tone", 0.5),
    ({"braintrust.span_attributes": '{"type": "score"}', "braintrust.scores": '{"exact": 1}'}, "braintrust", "exact", 1.0),
    ({"ai.observability.span_type": "eval_root", "ai.observability.eval_root.metric_name": "truth", "ai.observability.eval_root.score": 0.5}, "trulens", "truth", 0.5),
    ({"gen_ai.operation.name": "evaluate", "output.value": "0.5"}, "somebody", "tone", 0.5),
)  # fmt: skip


@pytest.mark.parametrize(("attributes", "scope", "name", "value"), JUDGES)
def test_a_judge_is_no_call_and_its_calls_are_apart(
    attributes: dict[str, Any], scope: str, name: str, value: float
) -> None:
    """A known library's judge leaves a score; model calls below it are evaluation calls, not the system's."""
    judge, call = marked(span(0, attributes, scope=scope, name="tone"), span(1, CHAT, parent_span_id="s0"))
    assert (judge["role"], judge["is_call"], call["excluded_because"]) == ("evaluator", False, "aside")
    assert [(told["name"], told["value"]) for told in json.loads(judge["evaluations"])] == [(name, value)]


@pytest.mark.parametrize(
    ("attributes", "scope"),
    [
        ({"confident.span.type": "llm", "confident.llm.model": "gpt-4o", "confident.llm.input_token_count": 40.0}, "deepeval_tracer"),
        ({"ai.observability.span_type": "generation", "ai.observability.cost.model": "gpt-4o", "ai.observability.cost.num_prompt_tokens": 40}, "trulens"),
        (CHAT, "evidently.tracing"),
        (CHAT, "my.ragasaurus"),
    ],
)  # fmt: skip
def test_a_tracer_of_an_evaluation_package_traces_the_system(attributes: dict[str, Any], scope: str) -> None:
    """What DeepEval, TruLens or Evidently trace of the system itself counts as the system's."""
    row = one(attributes, scope=scope)
    assert (row["is_call"], row["excluded_because"], row["input_tokens"]) == (True, None, 40)


def test_a_package_that_only_judges_is_apart() -> None:
    """Calls of a package that does nothing but judge are evaluation calls."""
    rows = marked(*(span(n, CHAT, scope=scope) for n, scope in enumerate(("ragas.metrics", "autoevals", "openevals"))))
    assert {row["excluded_because"] for row in rows} == {"aside"}


def test_pydantic_evals_judges_apart_from_the_cases_it_runs() -> None:
    """The experiment and its cases are around the system's calls; only evaluators judge; the case has the results."""
    results = {"correct": {"name": "correct", "value": True, "reason": "same"}}
    told = {"assertions": json.dumps(results), "scores": json.dumps({"close": {"value": 0.5}}), "labels": "{}"}
    rows = marked(
        span(0, {"n_cases": 1}, scope="pydantic-evals", name="evaluate greet"),
        span(1, told, scope="pydantic-evals", name="case: hello", parent_span_id="s0"),
        span(2, {}, scope="pydantic-evals", name="execute greet", parent_span_id="s1"),
        span(3, CHAT, parent_span_id="s2"),
        span(4, {}, scope="pydantic-evals", name="evaluator: LLMJudge", parent_span_id="s1"),
        span(5, CHAT, parent_span_id="s4"),
    )
    assert [row["excluded_because"] for row in rows] == [None, None, None, None, None, "aside"]
    assert rows[3]["is_call"]
    assert [(one["name"], one["value"]) for one in json.loads(rows[1]["evaluations"])] == [
        ("correct", 1.0),
        ("close", 0.5),
    ]


def test_annotations_of_a_span_its_trace_and_its_session_are_scores() -> None:
    """OpenInference flattens annotations into attributes; each is one score."""
    told = {
        "annotations.0.annotation.name": "tone",
        "annotations.0.annotation.score": 0.5,
        "annotations.1.annotation.name": "topic",
        "annotations.1.annotation.label": "sport",
        "trace.evaluations.0.evaluation.name": "truth",
        "trace.evaluations.0.evaluation.score": "1",
        "annotations.2.annotation.name": "nothing",
    }
    found = table(span(0, CHAT | told))
    assert found == [("tone", 0.5, None, "annotation"), ("topic", None, "sport", "annotation"), ("truth", 1.0, None, "annotation")]  # fmt: skip


def test_langfuse_scores_are_scores() -> None:
    """A numeric and a categorical score as attributes of a span."""
    number = {"langfuse.score.name": "helpful", "langfuse.score.value": 0.9, "langfuse.score.comment": "yes"}
    word = {"langfuse.score.name": "tone", "langfuse.score.value": "kind"}
    assert table(span(0, number), span(1, word)) == [
        ("helpful", 0.9, None, "annotation"),
        ("tone", None, "kind", "annotation"),
    ]


def table(*rows: dict[str, Any]) -> list[tuple[Any, ...]]:
    frame = normalise(pl.DataFrame(list(rows), schema=schema.polars_schema(schema.RAW)).lazy())
    return scores(frame).sort("span_id", "name").select("name", "value", "label", "source").collect().rows()


def test_every_score_reaches_the_numbers() -> None:
    """Scores of events and judges are custom metrics and a trial's scores like those of `score()`."""
    event = {"name": "gen_ai.evaluation.result", "time_ns": START, "attributes": {
        "gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.value": 0.5}}  # fmt: skip
    trial = {"trial_id": "s0", "condition": "a"}
    rows = [
        span(0, {"experiment.row": "trial"}, scope="otel_research", name="trial", **trial),
        span(1, CHAT, events=json.dumps([event]), parent_span_id="s0", **trial),
        span(2, JUDGES[3][0], parent_span_id="s0", name="truth", **trial),
    ]
    frame = mark(normalise(pl.DataFrame(rows, schema=schema.polars_schema(schema.RAW)).lazy())).collect()
    marked_rows = frame.with_columns(measurements=pl.lit(None, dtype=pl.String))
    assert [(name, value) for _, name, value in measurements(marked_rows)] == [("tone", 0.5), ("truth", 1.0)]
    told = trials(frame.lazy().with_columns(cost_usd=pl.lit(None, pl.Float64), cost_nano_usd=pl.lit(None, pl.Int64)))
    assert json.loads(told.collect()["scores"][0]) == {"tone": 0.5, "truth": 1.0}
