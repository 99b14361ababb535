"""How often a user was shown an item."""

from __future__ import annotations

import polars as pl

from recsys_assets.compute.day_counts import Counts
from recsys_assets.compute.user_items import score_items


def count_user_exposures(counts: Counts, *, top_n: int) -> pl.LazyFrame:
    """Score each user's items by how often the user was shown them.

    Args:
        counts: of the window.
        top_n: items kept per user, at least 1.

    Returns:
        Contract `implicit`: one row per (user, item), by user ascending, score descending, item
        ascending. No events with a user give no rows.

    Raises:
        ValueError: `top_n` is below 1.

    Cost: see docs/performance.md; computed when called, but for decoding the ids.
    """
    return score_items(counts, top_n=top_n, skip_first_event=False)
