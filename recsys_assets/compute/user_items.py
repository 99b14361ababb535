"""What the two artifacts per user share: counts per (user, item), cut to the strongest."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from recsys_assets.compute.coded import Coded
from recsys_assets.compute.codes import high_code, low_code
from recsys_assets.compute.day_counts import Counts
from recsys_assets.compute.lists import strongest_of


def score_items(
    counts: Counts,
    exposures: Iterable[pl.DataFrame],
    *,
    top_n: int,
    listed: pl.Series | None,
    empty_lists: bool,
) -> Coded:
    """Score each user's items by their exposures.

    Args:
        counts: of the window.
        exposures: `key` of (user, item) ascending, `count` (UInt32), in blocks of whole users: what
            is scored; the only row of a user whose list is empty has a count of 0.
        top_n: items kept per user, at least 1.
        listed: of each item code, whether the item may be listed; None lists all.
        empty_lists: whether a user none of whose items may be listed keeps an empty list.

    Returns:
        `user_id`, `item_id`, `score`: by user ascending, score descending, item ascending, at most
        `top_n` rows a user; an empty list is one row with nulls.

    Raises:
        ValueError: `top_n` is below 1.
    """
    if top_n < 1:
        raise ValueError(f"need at least 1: {top_n=}")

    def scored(block: pl.DataFrame) -> pl.DataFrame:
        entries = block.select(owner=high_code("key"), entry=low_code("key"), number="count")
        if listed is not None:
            entries = _of_listed(entries, listed, empty_lists=empty_lists)
        return strongest_of(entries, top_n)

    of_none = pl.DataFrame(schema=dict.fromkeys(("owner", "entry", "number"), pl.UInt32))
    rows = (
        pl.concat([of_none, *map(scored, exposures)])
        .lazy()
        .select(
            user_id="owner",
            item_id="entry",
            score=pl.col("number").cast(pl.Float64),
        )
    )
    return Coded(rows, {"user_id": counts.users, "item_id": counts.item_ids})


def _of_listed(entries: pl.DataFrame, listed: pl.Series, *, empty_lists: bool) -> pl.DataFrame:
    """Keep the entries whose item may be listed, and lists that are empty already."""
    kept = entries.filter(listed.gather(entries["entry"]) | (entries["number"] == 0))
    if not empty_lists:
        return kept
    emptied = (
        entries.unique("owner")
        .join(kept, on="owner", how="anti")
        .with_columns(entry=pl.lit(0, pl.UInt32), number=pl.lit(0, pl.UInt32))
    )
    return pl.concat([kept, emptied]).sort("owner", maintain_order=True)
