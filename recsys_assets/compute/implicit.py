"""How often a user was shown an item."""

from __future__ import annotations

import polars as pl

from recsys_assets.compute.coded import Coded
from recsys_assets.compute.day_counts import Counts
from recsys_assets.compute.user_items import score_items


def count_user_exposures(
    counts: Counts, *, top_n: int, weighted: bool = False, listed: pl.Series | None = None
) -> Coded:
    """Score each user's items by how often the user was shown them.

    Args:
        counts: of the window.
        top_n: items kept per user, at least 1.
        weighted: whether an exposure counts its event's `weight`, and not 1.
        listed: of each item code, whether the item may be listed; None lists all.

    Returns:
        Contract `implicit`: one row per (user, item), by user ascending, score descending, item
        ascending. No events with a user give no rows.

    Raises:
        ValueError: `top_n` is below 1.
        InputError: the exposures of an item to a user weigh more than 4,294,967,295.

    Cost: see docs/performance.md; computed when called, but for decoding the ids.
    """
    exposures = counts.user_item_blocks(weighted=weighted)
    return score_items(counts, exposures, top_n=top_n, listed=listed, empty_lists=False)
