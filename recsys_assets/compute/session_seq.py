"""Which items follow in a user's sequence of events."""

from __future__ import annotations

import polars as pl

from recsys_assets.compute.coded import Coded
from recsys_assets.compute.codes import high_code, numbered
from recsys_assets.compute.day_counts import Counts
from recsys_assets.compute.user_items import score_items


def count_next_items(counts: Counts, *, top_n: int, listed: pl.Series | None = None) -> Coded:
    """Score each user's items by how often they came next, the user's events put in time order.

    Every event of a user but the first is next to another one, so this counts the user's events per
    item without the first, and nothing needs to be sorted in time. Equal `ts` are told apart by
    source order (file, line), never by row order.

    Args:
        counts: of the window.
        top_n: items kept per user, at least 1.
        listed: of each item code, whether the item may be listed; None lists all. Events of others
            have their place in the sequence all the same.

    Returns:
        Contract `session_seq`: one row per (user, item), by user ascending, score descending, item
        ascending; a user with a single event, or none of whose next items may be listed, is one
        row with nulls. No events with a user give no rows.

    Raises:
        ValueError: `top_n` is below 1.

    Cost: see docs/performance.md; computed when called, but for decoding the ids.
    """
    firsts = numbered(counts.first_items)
    exposures = (_without_one(block, firsts) for block in counts.user_item_blocks())
    return score_items(counts, exposures, top_n=top_n, listed=listed, empty_lists=True)


def _without_one(counts: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """Take one off the count of each of `keys`; a user's only row stays when its count is 0.

    Args:
        counts: of whole users; `key` of (user, item) ascending, `count`.
        keys: ascending, one for each user, also of users who are not in `counts`.
    """
    keys = keys.filter(keys.is_between(counts["key"].first(), counts["key"].last()))
    places = counts["key"].search_sorted(keys)
    reduced = counts["count"].scatter(places, counts["count"].gather(places) - 1)
    user = high_code("key")
    only = (user != user.shift()).fill_null(value=True) & (user != user.shift(-1)).fill_null(
        value=True
    )
    return counts.with_columns(reduced).filter((pl.col("count") > 0) | only)
