"""How well the tags of a catalog fit events: two catalogs are compared on the same ones."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from recsys_assets.compute.codes import high_code, low_code
from recsys_assets.compute.samples import Keys


@dataclass(frozen=True)
class Fit:
    """How a catalog fits what happened on a day.

    Attributes:
        covered: share of events whose item has tags.
        coherence: how alike the tags of consecutive items of sessions are, 0 to 1: the mean of the
            tags that both have among all that they have. None where no step is between items with
            tags.
    """

    covered: float
    coherence: float | None


def fit_of(tags: pl.DataFrame, asked: Keys) -> Fit:
    """Return how a catalog fits.

    Args:
        tags: `item` (UInt32, hash), `tags` (list of String), an item once.
        asked: what happened.
    """
    covered = _items(asked).join(tags, on="item", how="semi")["events"].sum()
    steps = (
        pl.DataFrame({"key": asked.next_steps})
        .group_by(before=high_code("key"), item=low_code("key"))
        .agg(times=pl.len())
    )
    both = (
        steps.join(tags, on="item")
        .join(tags.rename({"item": "before", "tags": "tags_before"}), on="before")
        .select(
            "times",
            alike=pl.col("tags").list.set_intersection("tags_before").list.len()
            / pl.col("tags").list.set_union("tags_before").list.len(),
        )
    )
    times = int(both["times"].sum())
    total = both.select((pl.col("times") * pl.col("alike")).sum()).item()
    return Fit(int(covered) / max(asked.rows, 1), total / times if times else None)


def changed_items(before: pl.DataFrame, after: pl.DataFrame, asked: Keys) -> pl.DataFrame:
    """Return the items of events whose tags differ, or are gone, the most frequent first.

    Args:
        before: `item`, `tags` as `fit_of` takes them.
        after: the same of the other catalog.
        asked: what happened.

    Returns:
        `item`, `events`, `tags` (before) and `tags_now` (null where it has none).
    """
    return (
        _items(asked)
        .join(before, on="item")
        .join(after.rename({"tags": "tags_now"}), on="item", how="left")
        .filter(pl.col("tags").list.sort().ne_missing(pl.col("tags_now").list.sort()))
        .sort("events", "item", descending=[True, False])
    )


def _items(asked: Keys) -> pl.DataFrame:
    item, events = asked.items
    return pl.DataFrame({"item": item, "events": events.astype("uint32")})
