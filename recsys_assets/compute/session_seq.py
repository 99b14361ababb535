"""Which items follow in a user's sequence of events."""

from __future__ import annotations

import polars as pl

from recsys_assets.compute.day_counts import Counts
from recsys_assets.compute.user_items import score_items


def count_next_items(counts: Counts, *, top_n: int) -> pl.LazyFrame:
    """Score each user's items by how often they came next, the user's events put in time order.

    Every event of a user but the first is next to another one, so this counts the user's events per
    item without the first, and nothing needs to be sorted in time. Equal `ts` are told apart by
    source order (file, line), never by row order.

    Args:
        counts: of the window.
        top_n: items kept per user, at least 1.

    Returns:
        Contract `session_seq`: one row per (user, item), by user ascending, score descending, item
        ascending; a user with a single event is one row with nulls. No events with a user give no
        rows.

    Raises:
        ValueError: `top_n` is below 1.

    Cost: see docs/performance.md; computed when called, but for decoding the ids.
    """
    return score_items(counts, top_n=top_n, skip_first_event=True)
