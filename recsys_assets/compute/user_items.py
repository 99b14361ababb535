"""What the two artifacts per user share: counts per (user, item), cut to the strongest."""

from __future__ import annotations

import polars as pl

from recsys_assets.compute.codes import decoded, high_code, low_code, numbered
from recsys_assets.compute.day_counts import Counts
from recsys_assets.compute.lists import strongest


def score_items(counts: Counts, *, top_n: int, skip_first_event: bool) -> pl.LazyFrame:
    """Score each user's items by their exposures, the user's first event counted or not.

    Args:
        counts: of the window.
        top_n: items kept per user, at least 1.
        skip_first_event: leave out each user's first event of the window.

    Returns:
        `user_id`, `item_id`, `score`: by user ascending, score descending, item ascending, at most
        `top_n` rows a user; a user whose only event is skipped keeps one row with nulls. Events
        without a user are left out.

    Raises:
        ValueError: `top_n` is below 1.
    """
    if top_n < 1:
        raise ValueError(f"need at least 1: {top_n=}")
    exposures = counts.user_items
    if skip_first_event:
        exposures = _without_one(exposures, numbered(counts.first_items))
    entries = exposures.select(owner=high_code("key"), entry=low_code("key"), number="count")
    return (
        strongest(entries, top_n)
        .lazy()
        .select(
            decoded("owner", counts.users).alias("user_id"),
            decoded("entry", counts.item_ids).alias("item_id"),
            pl.col("number").cast(pl.Float64).alias("score"),
        )
    )


def _without_one(counts: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """Take one off the count of each of `keys`; a user's only row stays when its count is 0."""
    places = counts["key"].search_sorted(keys)
    reduced = counts["count"].scatter(places, counts["count"].gather(places) - 1)
    user = high_code("key")
    only = (user != user.shift()).fill_null(value=True) & (user != user.shift(-1)).fill_null(
        value=True
    )
    return counts.with_columns(reduced).filter((pl.col("count") > 0) | only)
