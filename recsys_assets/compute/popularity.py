"""Most exposed items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

import polars as pl

from recsys_assets.compute.day_counts import DayCounts


def count_exposures(
    days: Sequence[DayCounts],
    *,
    top_n: int,
    weights: Sequence[int] | None = None,
    weighted: bool = False,
    listed: pl.Series | None = None,
) -> pl.LazyFrame:
    """Rank items by how often they were shown.

    Args:
        days: the counts of the days of the window, at least one.
        top_n: items kept, at least 1.
        weights: what an exposure of each of the days counts, at least 0; None counts each as 1.
        weighted: whether an exposure counts its event's `weight`, besides.
        listed: the ids of the items that may be listed; None lists all.

    Returns:
        Contract `popularity`: one row per item, by count descending, ties by item_id ascending; no
        row for an item whose exposures all count 0. No events give no rows.

    Raises:
        ValueError: `top_n` is below 1.
    """
    if top_n < 1:
        raise ValueError(f"need at least 1: {top_n=}")
    of_days = [
        (day.weighted_items if weighted else day.items)
        .lazy()
        .select("item_id", pl.col("count").cast(pl.Int64) * weight)
        for day, weight in zip(days, weights or [1] * len(days), strict=True)
    ]
    exposures = pl.concat(of_days)
    if listed is not None:
        exposures = exposures.join(listed.to_frame("item_id").lazy(), on="item_id", how="semi")
    return (
        exposures.group_by("item_id")
        .agg(pl.col("count").sum())
        .filter(pl.col("count") > 0)
        .sort("count", "item_id", descending=[True, False])
        .head(top_n)
    )


def weigh_days(days: Sequence[date], *, half_life_days: float) -> list[int]:
    """Return what an exposure of each day counts, in thousandths of one of the last day.

    That is half for each `half_life_days` of age, rounded; a half to the even number.

    Args:
        days: at least one.
        half_life_days: greater than 0.

    Raises:
        ValueError: `half_life_days` is not a finite number above 0.
    """
    if not (half_life_days > 0 and math.isfinite(half_life_days)):
        raise ValueError(f"need a finite number above 0: {half_life_days=}")
    # Not by Polars: it divides a column by multiplying with the rounded reciprocal, except for the
    # last rows. By 49, 196 days are then 3.9999999999999996 half-lives or 4: weight 63 or 62.
    last = max(days)
    return [round(1000 * 0.5 ** ((last - day).days / half_life_days)) for day in days]
