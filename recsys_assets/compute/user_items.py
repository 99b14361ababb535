"""What the two artifacts per user share: counts per (user, item), cut to the strongest."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from recsys_assets.compute.codes import (
    decoded,
    high_code,
    low_code,
    number_together,
    pair_key,
    recoded,
)
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.lists import strongest


def score_items(days: Sequence[DayCounts], *, top_n: int, skip_first_event: bool) -> pl.LazyFrame:
    """Score each user's items by their exposures, the user's first event counted or not.

    Args:
        days: the counts of the days of the window, oldest first, at least one.
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
    users, user_codes = number_together([day.users for day in days])
    items, item_codes = number_together([day.items["item_id"] for day in days])
    codes = list(zip(days, user_codes, item_codes, strict=True))
    counts = _add_up(
        [
            day.user_items.with_columns(recoded(day.user_items["key"], of_users, of_items))
            for day, of_users, of_items in codes
        ]
    )
    if skip_first_event:
        first = [
            recoded(_first_keys(day.first_items), of_users, of_items)
            for day, of_users, of_items in codes
        ]
        counts = _without_one(counts, _first_of_each_user(first))
    entries = counts.select(owner=high_code("key"), entry=low_code("key"), number="count")
    return (
        strongest(entries, top_n)
        .lazy()
        .select(
            decoded("owner", users).alias("user_id"),
            decoded("entry", items).alias("item_id"),
            pl.col("number").cast(pl.Float64).alias("score"),
        )
    )


def _first_keys(items: pl.Series) -> pl.Series:
    """Return the key of (user, item) of each user's first event."""
    pairs = items.alias("item").to_frame().with_row_index("user")
    return pairs.select(key=pair_key(pl.col("user"), pl.col("item"))).to_series()


def _first_of_each_user(days: Sequence[pl.Series]) -> pl.Series:
    """Return the key of each user's first event of all days; a user has one key a day."""
    if len(days) == 1:
        return days[0]
    keys = pl.concat(days).to_frame().with_columns(user=high_code("key"))
    return keys.unique("user", keep="first", maintain_order=True)["key"]


def _add_up(days: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Add the counts of equal keys; by key ascending."""
    if len(days) == 1:
        return days[0]
    ordered = pl.concat(days).sort("key")
    runs = ordered["key"].rle()
    sums = ordered["count"].cast(pl.Int64).cum_sum().gather(runs.struct.field("len").cum_sum() - 1)
    counts = sums - sums.shift(fill_value=0)
    return pl.DataFrame({"key": runs.struct.field("value"), "count": counts.cast(pl.UInt32)})


def _without_one(counts: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """Take one off the count of each of `keys`; a user's only row stays when its count is 0."""
    places = counts["key"].search_sorted(keys)
    reduced = counts["count"].scatter(places, counts["count"].gather(places) - 1)
    user = high_code("key")
    only = (user != user.shift()).fill_null(value=True) & (user != user.shift(-1)).fill_null(
        value=True
    )
    return counts.with_columns(reduced).filter((pl.col("count") > 0) | only)
