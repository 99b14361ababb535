"""Most exposed items."""

from __future__ import annotations

import polars as pl


def count_exposures(events: pl.LazyFrame, *, top_n: int) -> pl.LazyFrame:
    """Rank items by how often they were shown.

    Args:
        events: contract `canonical_event` of the days of the window, any row order.
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
        events.group_by("item_id")
        .agg(pl.len().cast(pl.Int64).alias("count"))
        .sort("count", "item_id", descending=[True, False])
        .head(top_n)
    )
