"""How often a user was shown an item."""

from __future__ import annotations

import polars as pl

from recsys_assets.compute.user_items import score_items


def count_user_exposures(events: pl.LazyFrame, *, top_n: int) -> pl.LazyFrame:
    """Score each user's items by how often the user was shown them.

    Args:
        events: contract `canonical_event` of the days of the window, any row order.
        top_n: items kept per user, at least 1.

    Returns:
        Contract `implicit`: one row per (user, item), by user ascending, score descending, item
        ascending. No events with a user give no rows.

    Raises:
        ValueError: `top_n` is below 1.

    Cost: 8 bytes per event with a user, and the result; computed when called.
    """
    return score_items(events, top_n=top_n, skip_first_event=False).lazy()
