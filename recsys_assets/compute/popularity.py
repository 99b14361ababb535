"""Most exposed items."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl


def count_exposures(
    events: pl.LazyFrame, *, top_n: int, weights: Mapping[date, int] | None = None
) -> pl.LazyFrame:
    """Rank items by how often they were shown.

    Args:
        events: contract `canonical_event` of the days of the window, any row order.
        top_n: items kept, at least 1.
        weights: what an exposure of a UTC day counts, at least 0; one of another day counts 0. None
            counts each as 1.

    Returns:
        Contract `popularity`: one row per item, by count descending, ties by item_id ascending; no
        row for an item whose exposures all count 0. No events give no rows.

    Raises:
        ValueError: `top_n` is below 1.
    """
    if top_n < 1:
        raise ValueError(f"need at least 1: {top_n=}")
    if weights is None:
        counted = events.group_by("item_id").agg(pl.len().cast(pl.Int64).alias("count"))
    else:
        of_days = pl.LazyFrame(
            [(day, weight) for day, weight in weights.items() if weight > 0],
            schema={"day": pl.Date, "count": pl.Int64},
            orient="row",
        )
        counted = (
            events.select("item_id", pl.col("ts").dt.date().alias("day"))
            .join(of_days, on="day")
            .group_by("item_id")
            .agg(pl.col("count").sum())
        )
    return counted.sort("count", "item_id", descending=[True, False]).head(top_n)


def weigh_days(days: Sequence[date], *, half_life_days: float) -> dict[date, int]:
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
    return {day: round(1000 * 0.5 ** ((last - day).days / half_life_days)) for day in days}
