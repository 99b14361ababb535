"""How often a user was shown an item."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.user_items import score_items


def count_user_exposures(days: Sequence[DayCounts], *, top_n: int) -> pl.LazyFrame:
    """Score each user's items by how often the user was shown them.

    Args:
        days: the counts of the days of the window, oldest first, at least one.
        top_n: items kept per user, at least 1.

    Returns:
        Contract `implicit`: one row per (user, item), by user ascending, score descending, item
        ascending. No events with a user give no rows.

    Raises:
        ValueError: `top_n` is below 1.

    Cost: see docs/performance.md; computed when called, but for decoding the ids.
    """
    return score_items(days, top_n=top_n, skip_first_event=False)
