"""Most exposed items."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from recsys_assets.compute.day_counts import DayCounts


def count_exposures(days: Sequence[DayCounts], *, top_n: int) -> pl.LazyFrame:
    """Rank items by how often they were shown.

    Args:
        days: the counts of the days of the window, at least one.
        top_n: items kept, at least 1.

    Returns:
        Contract `popularity`: one row per item, by count descending, ties by item_id ascending. No
        events give no rows.

    Raises:
        ValueError: `top_n` is below 1.
    """
    if top_n < 1:
        raise ValueError(f"need at least 1: {top_n=}")
    return (
        pl.concat([day.items for day in days])
        .lazy()
        .group_by("item_id")
        .agg(pl.col("count").cast(pl.Int64).sum())
        .sort("count", "item_id", descending=[True, False])
        .head(top_n)
    )
