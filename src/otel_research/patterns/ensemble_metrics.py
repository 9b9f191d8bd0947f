"""What an experiment says about its ensembles: consensus, agreement, cost of the votes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from otel_research.patterns.tree import attribute, costs, flag, number, rate, read

if TYPE_CHECKING:
    import polars as pl


class EnsembleMetrics:
    """A metric calculator over the spans of `Ensemble`.

    Pass it to `start_experiment(custom_metrics=[EnsembleMetrics()])`, or call `calculate`.
    """

    name = "ensemble"

    def calculate(self, spans: pl.LazyFrame) -> Mapping[str, Any]:
        """Counts, rates (0 to 1) and US dollars; None where there is nothing to compute from.

        `consensus_rate` and `mean_agreement` are over predictions that reached a decision.
        `vote_cost_usd` sums the priced model calls inside votes, `unpriced_calls` counts the
        others; calls of a judge count as `judge_cost_usd`.
        """
        import polars as pl

        mine, calls = read(spans, ["ensemble.predict", "ensemble.vote", "ensemble.judge"])
        priced = costs(calls)
        predictions = mine.filter(pl.col("name") == "ensemble.predict").select(
            flag("ensemble.consensus").alias("consensus"),
            flag("ensemble.tie").alias("tie"),
            number("ensemble.agreement").alias("agreement"),
            attribute("ensemble.strategy").alias("strategy"),
        )
        votes = _votes(mine, priced)
        judges = mine.filter(pl.col("name") == "ensemble.judge").join(
            priced, left_on=["trace_id", "span_id"], right_on=["trace_id", "owner"]
        )
        decided = predictions.filter(pl.col("agreement").is_not_null())
        return {
            "predictions": predictions.height,
            "decided": decided.height,
            "strategies": sorted(predictions["strategy"].drop_nulls().unique().to_list()),
            "consensus_rate": rate(int(decided["consensus"].sum()), decided.height),
            "tie_rate": rate(int(decided["tie"].sum()), decided.height),
            "mean_agreement": decided["agreement"].mean(),
            **_vote_sums(votes),
            "cost_per_prediction_usd": _per_prediction(votes, predictions.height),
            "judge_cost_usd": _priced_sum(judges),
            "by_voter": {voter: _voter_sums(part) for (voter,), part in votes.group_by("voter", maintain_order=True)},
        }


def _votes(mine: pl.DataFrame, priced: pl.DataFrame) -> pl.DataFrame:
    """One row per vote: voter, outcome, whether it agrees with the decision, duration, cost."""
    import polars as pl

    decisions = mine.filter(pl.col("name") == "ensemble.predict").select(
        "trace_id",
        pl.col("span_id").alias("parent_span_id"),
        attribute("ensemble.answer_hash").alias("decided"),
    )
    votes = mine.filter(pl.col("name") == "ensemble.vote").select(
        "trace_id",
        "span_id",
        "parent_span_id",
        attribute("ensemble.voter").alias("voter"),
        attribute("ensemble.vote.outcome").alias("outcome"),
        attribute("ensemble.vote.answer_hash").alias("said"),
        ((pl.col("end_ns") - pl.col("start_ns")) / 1e6).alias("ms"),
    )
    return (
        votes.join(decisions, on=["trace_id", "parent_span_id"], how="left")
        .with_columns((pl.col("said") == pl.col("decided")).alias("agrees"))
        .join(priced, left_on=["trace_id", "span_id"], right_on=["trace_id", "owner"], how="left")
        .sort("voter")
    )


def _vote_sums(votes: pl.DataFrame) -> dict[str, Any]:
    outcomes = votes["outcome"]
    return {
        "votes": votes.height,
        "answered_votes": int((outcomes == "answered").sum()),
        "failed_votes": int((outcomes == "failed").sum()),
        "cancelled_votes": int((outcomes == "cancelled").sum()),
        "vote_calls": int(votes["calls"].sum()),
        "vote_cost_usd": _priced_sum(votes),
        "unpriced_calls": int(votes["unpriced"].sum()),
    }


def _voter_sums(votes: pl.DataFrame) -> dict[str, Any]:
    import polars as pl

    answered = votes.filter(pl.col("outcome") == "answered")
    known = answered["agrees"].drop_nulls()
    return {
        **_vote_sums(votes),
        "agreement_rate": rate(int(known.sum()), known.len()),
        "mean_ms": answered["ms"].mean(),
    }


def _priced_sum(part: pl.DataFrame) -> float | None:
    """US dollars of the priced calls; None where not a single one has a price."""
    if int(part["calls"].sum()) == int(part["unpriced"].sum()):
        return None
    return float(part["priced_usd"].sum())


def _per_prediction(votes: pl.DataFrame, predictions: int) -> float | None:
    total = _priced_sum(votes)
    return None if total is None or not predictions else total / predictions
