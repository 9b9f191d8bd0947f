"""An agent that calls a tool, against the bare model: what does a trial cost, and where does its time go?

The client and its instrumentation are real, the model server is the bundled one. The agent and its
tool get spans of their own, in OpenTelemetry's GenAI vocabulary (`invoke_agent`, `execute_tool`):
only requests to a model are counted as calls, however deep they are. Needs 'otel-research[demo]'.
"""

from __future__ import annotations

import json

import openai
from opentelemetry import trace
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

import otel_research as otr
from otel_research.demo.questions import Question, questions, read_answer, solve
from otel_research.demo.server import ModelServer

OpenAIInstrumentor().instrument()
tracer = trace.get_tracer("my-app")
CALCULATOR = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "The value of a sum, difference or product.",
        "parameters": {
            "type": "object",
            "properties": {"expression": {"type": "string"}},
            "required": ["expression"],
        },
    },
}


def calculator(call_id: str, expression: str) -> str:
    """The tool, in a span: its time is the agent's, its failures are seen."""
    named = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "calculator", "gen_ai.tool.call.id": call_id}
    with tracer.start_as_current_span("execute_tool calculator", attributes=named):
        return str(solve(expression))


def bare(client: openai.OpenAI, question: Question) -> int | None:
    messages = [{"role": "user", "content": question.text}]
    said = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
    return read_answer(said.choices[0].message.content)


def agent(client: openai.OpenAI, question: Question) -> int | None:
    """Ask; run the tools that the model wants; ask again with what they said. The tool's word counts."""
    messages: list = [{"role": "user", "content": question.text}]
    named = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "arithmetician"}
    with tracer.start_as_current_span("invoke_agent arithmetician", attributes=named):
        found = None
        for _ in range(4):
            said = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[CALCULATOR])
            message = said.choices[0].message
            if not message.tool_calls:
                return read_answer(found or message.content)
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls:
                found = calculator(call.id, json.loads(call.function.arguments)["expression"])
                messages.append({"role": "tool", "tool_call_id": call.id, "content": found})
    raise RuntimeError("the agent did not come to an end in four turns")


with (
    ModelServer(seed=3, latency_scale=0.02) as server,
    openai.OpenAI(base_url=server.base_url, api_key="unused") as client,
    otr.experiment("agent", primary="accuracy", direction="higher", sample_size=24, seed=3) as exp,
):

    def trial(question: Question, condition: otr.Condition) -> None:
        given = {"bare": bare, "agent": agent}[condition](client, question)
        otr.score("accuracy", float(given == question.answer))

    exp.run_trials(trial, questions(24, seed=3), conditions=["bare", "agent"])

print(otr.compare(exp.where({"condition": "bare"}), exp.where({"condition": "agent"})).summary())
spans = exp.spans().collect()
for condition, metrics in otr.metrics_by(exp, "condition", unit="trial", ci=False).items():
    rows = spans.filter(spans["condition"] == condition)
    per_trial = rows["is_call"].sum() / metrics.n
    print(f"{condition:6} {per_trial:.2f} calls, {1e6 * metrics.cost.per_request_mean:.1f} micro-USD per trial")
print(spans["operation"].drop_nulls().value_counts().sort("operation"))
