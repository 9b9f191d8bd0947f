"""Can three small models that vote replace one large one?

A real client with a real instrumentation asks the bundled model server, so this runs offline.
Leave out `base_url` and it asks the real models. Needs `pip install 'otel-research[demo]'`.
"""

from __future__ import annotations

import asyncio

import openai
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

import otel_research as otr
from otel_research.demo.questions import Question, questions, read_answer
from otel_research.demo.server import ModelServer
from otel_research.patterns import EnsembleMetrics, majority

# After this line every call of the client makes a span; nothing else in the program changes.
OpenAIInstrumentor().instrument()


async def main(server: ModelServer) -> otr.Experiment:
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="unused")

    def voter(name: str):
        async def ask(question: Question) -> int | None:
            said = await client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": question.text}]
            )
            return read_answer(said.choices[0].message.content)

        return ask

    single = voter("gpt-4o")
    ensemble = majority({name: voter(name) for name in ("gpt-4o-mini", "gpt-4.1-mini", "gpt-4.1-nano")})

    async def trial(question: Question, condition: otr.Condition) -> None:
        given = await single(question) if condition == "single" else (await ensemble.predict(question)).answer
        # Wrong is not the same as broken: a wrong answer is a score of 0, an exception a failed trial.
        otr.score("accuracy", float(given == question.answer))

    async with (
        client,
        otr.experiment(
            "ensemble-vs-single",
            hypothesis="Three small models that vote are no less accurate than the large one, and cheaper.",
            primary=["accuracy", "cost"],
            sample_size=25,
            custom_metrics=[EnsembleMetrics()],
            seed=1,
        ) as exp,
    ):
        await exp.arun_trials(trial, questions(25, seed=1), conditions=["single", "ensemble"], concurrency=8)
    return exp


with ModelServer(seed=1, latency_scale=0.02) as server:
    exp = asyncio.run(main(server))

single, ensemble = exp.where({"condition": "single"}), exp.where({"condition": "ensemble"})
print(otr.compare(single, ensemble).summary())
voting = otr.calculate_metrics(exp, ci=False).custom["ensemble"]
print(f"consensus in {voting['consensus_rate']:.0%} of {voting['decided']} votes")
for name, voter in voting["by_voter"].items():
    print(f"  {name}: agrees with the decision in {voter['agreement_rate']:.0%}, {voter['vote_cost_usd']:.6f} USD")
