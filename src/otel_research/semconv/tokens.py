"""Token counts that mean the same everywhere: billable input with the cache, billable output with the reasoning.

In the convention cached tokens are part of the input and reasoning tokens part of the output. Providers differ
(Anthropic and Bedrock bill the cache beside the input, Google the thoughts beside the output), and
instrumentations pass either on. What a row says about itself decides first (its total), then what is known of
the package that wrote it (`habits`). Every change and every contradiction leaves a flag.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

MOST = 10**9
"""More tokens than any request has."""

COUNTS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "image_output_tokens",
)
_FRESH = "fresh_input_tokens"
_WHOLE = "_whole_"
_NONE = pl.lit(None, dtype=pl.Int64)


def whole(told: Collection[str]) -> list[pl.Expr]:
    """The counts that can be one, beside what the span wrote; `told` are those that any span wrote."""
    return [(whole_number(pl.col(name)) if name in told else _NONE).alias(_WHOLE + name) for name in (*COUNTS, _FRESH)]


def counts(told: Collection[str]) -> list[pl.Expr]:
    """Whole numbers, not negative; input 0 with output 0 and no total means "not reported"."""
    heard = pl.when(~pl.col("is_silent"))
    # What no span wrote stays one null for all rows: looking at each row's would cost as much as a count does.
    each = [
        (heard.then(_WHOLE + name) if name in told else _NONE).alias(name)
        for name in COUNTS
        if name not in ("total_tokens", "input_tokens")
    ]
    each.append((heard.then(_asked()) if "input_tokens" in told else _NONE).alias("input_tokens"))
    return [*each, *(pl.col(_WHOLE + name).alias(name) for name in ("total_tokens", _FRESH))]


def _asked() -> pl.Expr:
    """The input. Of an answer to nothing, not even to a cache, it is not known (LangChain's streams of Anthropic)."""
    others = ("cache_read_tokens", "cache_write_tokens", "audio_input_tokens", "image_input_tokens")
    beside = pl.sum_horizontal(_WHOLE + name for name in others)
    answered = (pl.col(_WHOLE + "output_tokens") > 0).fill_null(False)
    return pl.when((pl.col(_WHOLE + "input_tokens") > 0) | (beside > 0) | ~answered).then(_WHOLE + "input_tokens")


def silent() -> pl.Expr:
    """Rows that wrote zeros because nothing was reported."""
    seen = pl.max_horizontal("input_tokens", "output_tokens", "total_tokens")
    return (seen == 0).fill_null(False)


def whole_number(value: pl.Expr) -> pl.Expr:
    """The count where it can be one: whole, not negative, not beyond every model."""
    return pl.when((value.floor() == value) & value.is_between(0, MOST)).then(value).cast(pl.Int64)


def implausible(told: Collection[str]) -> pl.Expr:
    """Rows with a number that is no count of tokens."""
    odd = [pl.col(name).is_not_null() & pl.col(_WHOLE + name).is_null() for name in COUNTS if name in told]
    return pl.any_horizontal(*odd, pl.lit(False))


def _cached() -> pl.Expr:
    return pl.sum_horizontal("cache_read_tokens", "cache_write_tokens")


def exclusive_input() -> pl.Expr:
    """Rows whose input leaves out their cached tokens."""
    cached, given, thought = _cached(), pl.col("input_tokens"), pl.col("reasoning_tokens")
    total, out = pl.col("total_tokens"), pl.col("output_tokens").fill_null(0)
    added = given + cached + out
    fresh = pl.col(_FRESH)
    says_so = (total == added) | (total == added + thought) | (given < cached) | (given == fresh)
    known = pl.col("_is_exclusive") & (given != fresh + cached).fill_null(True)
    return ((cached > 0) & (known | says_so.fill_null(False))).fill_null(False)


def without_cache() -> pl.Expr:
    """Rows whose input may leave out a cache that they do not tell; of Bedrock's Converse botocore's tell it where there is one."""
    return pl.col("_may_lack_cache") & pl.col("input_tokens").is_not_null() & pl.col("cache_read_tokens").is_null()


def without_thoughts() -> pl.Expr:
    """Google's rows whose output may leave out thoughts that they do not tell."""
    untold = pl.col("total_tokens").is_null() & pl.col("reasoning_tokens").is_null()
    return pl.col("_may_lack_thoughts") & untold & pl.col("output_tokens").is_not_null()


def in_buckets(attributes_say: pl.Expr) -> pl.Expr:
    """Langfuse's disjoint buckets: input, cache, output and reasoning are four numbers that add up to the total."""
    parts = pl.sum_horizontal(
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
        "audio_input_tokens",
        "audio_output_tokens",
    )
    return (attributes_say & (pl.col("total_tokens") == parts).fill_null(True)).fill_null(False)


def output_from_total() -> pl.Expr:
    """Google rows whose output leaves out the thoughts: the total knows."""
    sum_ = pl.col("input_tokens") + pl.col("output_tokens").fill_null(0)
    return (pl.col("_tells_thoughts") & (pl.col("total_tokens") > sum_)).fill_null(False)


def exclusive_output() -> pl.Expr:
    """Rows whose total only adds up with the reasoning beside the output, or with more reasoning than output."""
    reasoning, out, total = pl.col("reasoning_tokens"), pl.col("output_tokens"), pl.col("total_tokens")
    sum_ = pl.col("input_tokens") + out + reasoning
    signs = (total == sum_, total == sum_ + _cached(), reasoning > out, pl.col("_thinks_beside"))
    says_so = pl.any_horizontal(sign.fill_null(False) for sign in signs)
    return (reasoning > 0).fill_null(False) & says_so


def assumed_inclusive() -> pl.Expr:
    """Rows of a provider that bills the cache beside the input, from a package of unknown habit.

    A total that is the sum of the two counts says nothing: packages make it themselves.
    """
    beside = pl.col("provider").is_in(["anthropic", "aws.bedrock"]) & (_cached() > 0)
    own_total = pl.col("total_tokens") == pl.col("input_tokens") + pl.col("output_tokens").fill_null(0)
    doubtful = beside & (pl.col("total_tokens").is_null() | own_total.fill_null(False))
    known = pl.col("_is_inclusive") | pl.col("was_exclusive") | pl.col(_FRESH).is_not_null()
    return (doubtful & ~known).fill_null(False)


def billable() -> list[pl.Expr]:
    """Input with the cache, output with the reasoning. Where only the input beside the cache is told, the sum."""
    fresh, out, total = pl.col("fresh_input_tokens"), pl.col("output_tokens"), pl.col("total_tokens")
    given = pl.coalesce("input_tokens", fresh + _cached())
    asked = pl.when("was_exclusive").then(given + _cached()).otherwise(given)
    audio_in, audio_out = pl.col("audio_input_tokens").fill_null(0), pl.col("audio_output_tokens").fill_null(0)
    thought = pl.col("reasoning_tokens").fill_null(0)
    return [
        pl.when("was_bucketed").then(given + _cached() + audio_in).otherwise(asked).alias("input_tokens"),
        pl.when("was_bucketed")
        .then(out + thought + audio_out)
        .when("was_short")
        .then(pl.coalesce(pl.when(total > asked + out).then(total - asked), out + thought))
        .otherwise(out)
        .alias("output_tokens"),
    ]
