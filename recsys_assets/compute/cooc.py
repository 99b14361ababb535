"""Items that are seen in the same sessions."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import polars as pl

from recsys_assets.compute.codes import (
    count_keys,
    decoded,
    high_code,
    low_code,
    pair_key,
)
from recsys_assets.compute.day_counts import Counts
from recsys_assets.compute.lists import strongest_of

# Pairs of a block that is counted, or entries of one that is ranked, about 40 bytes each; larger
# blocks gain nothing. What belongs to one item stays together, so an item in very many sessions
# makes its block larger.
_BLOCK_PAIRS: Final = 2_000_000
# Blocks of pairs that are counted at a time: only the sorting of one uses more than one core.
_BLOCKS_AT_ONCE: Final = 2


@dataclass(frozen=True)
class Cooccurrence:
    """Neighbours (contract `cooc`), and what was left out of them on purpose."""

    neighbours: pl.LazyFrame
    sessions: int
    oversized_sessions: int


def count_cooccurrence(
    counts: Counts,
    *,
    max_neighbours: int,
    min_support: int,
    max_items: int,
    max_items_per_session: int,
    listed: pl.Series | None = None,
) -> Cooccurrence:
    """Rank each item's neighbours by the number of sessions that hold both.

    A session counts once per pair however often it repeats an item, and the relation is symmetric
    before the cuts: (a, b, n) is present exactly when (b, a, n) is. Sessions with more than
    `max_items_per_session` distinct items are bots: left out, and counted.

    Args:
        counts: of the window.
        max_neighbours: neighbours kept per item, at least 1.
        min_support: sessions a pair needs to be kept, at least 1.
        max_items: items kept, those in the most sessions, ties by item ascending; at least 1.
        max_items_per_session: distinct items of the largest session that is counted, at least 1.
        listed: of each item code, whether the item may be listed; None lists all. Others count in
            the size of a session, and are in no list and have none.

    Returns:
        Contract `cooc`: one row per (item, neighbour), by item ascending, count descending,
        neighbour ascending; an item that shares a session but keeps no neighbour is one row with
        nulls. No events give no rows.

    Raises:
        ValueError: an option is below 1.

    Cost: time grows with the sum over sessions of (distinct items)^2 / 2, the pairs; memory with
        the distinct (session, item) and with the pairs that reach `min_support`. Computed when
        called.
    """
    options = (max_neighbours, min_support, max_items, max_items_per_session)
    if min(options) < 1:
        raise ValueError(
            f"need at least 1: {max_neighbours=}, {min_support=}, {max_items=}, "
            f"{max_items_per_session=}"
        )
    baskets, sessions, oversized = _baskets(counts.baskets, max_items_per_session, listed)
    shown = _items_in_most_sessions(baskets, max_items)
    baskets = baskets.filter("shared").drop("shared")
    pairs = _count_pairs(baskets, shown, min_support)
    return Cooccurrence(
        neighbours=_neighbours(pairs, shown, max_neighbours)
        .lazy()
        .select(
            decoded("owner", counts.item_ids).alias("item_id"),
            decoded("entry", counts.item_ids).alias("neighbour_id"),
            pl.col("number").cast(pl.Int64).alias("count"),
        ),
        sessions=sessions,
        oversized_sessions=oversized,
    )


def _baskets(
    keys: pl.Series, max_items_per_session: int, listed: pl.Series | None
) -> tuple[pl.DataFrame, int, int]:
    """Return what the sessions hold, the number of all sessions and of the oversized ones.

    One row per distinct (session, item), by session, then item, without the oversized sessions and
    the items that are not listed: `item`; `later`, how many of the following rows belong to the
    same session; `shared`, whether the session holds another item.
    """
    session = keys.to_frame().select(high_code("key")).to_series()
    # No number of a session is missing, so it is also the index of its run.
    sizes = session.rle().struct.field("len")
    size = sizes.gather(session)
    item = keys.to_frame().select(low_code("key")).to_series()
    later = _later(session, sizes)
    held = size <= max_items_per_session
    if listed is not None:
        is_listed = listed.gather(item)
        held &= is_listed
        # Of the following rows, only those of listed items.
        number = is_listed.cast(pl.Int64).cum_sum()
        last = pl.int_range(keys.len(), eager=True) + later
        later = number.gather(last) - number
    baskets = pl.DataFrame({"item": item, "later": later.cast(pl.UInt32), "shared": size > 1})
    return baskets.filter(held), sizes.len(), int((sizes > max_items_per_session).sum())


def _later(session: pl.Series, sizes: pl.Series) -> pl.Series:
    """Return how many of the rows after each one are of its session."""
    last = (sizes.cum_sum().cast(pl.Int64) - 1).gather(session)
    return last - pl.int_range(session.len(), eager=True)


def _items_in_most_sessions(baskets: pl.DataFrame, max_items: int) -> pl.Series:
    return (
        baskets.lazy()
        .group_by("item")
        .agg(pl.len(), pl.col("shared").any())
        .filter("shared")
        .sort("len", "item", descending=[True, False])
        .head(max_items)
        .collect()
        .get_column("item")
        .sort()
    )


def _count_pairs(baskets: pl.DataFrame, shown: pl.Series, min_support: int) -> pl.DataFrame:
    """Count the sessions of each pair `low` < `high` of which an item is shown; keep the supported.

    Pairs are made and counted in blocks of whole `low` items, so a block's counts are final. They
    are ascending, and all columns are UInt32.
    """
    by_item = (
        baskets.with_row_index("row").filter(pl.col("later") > 0).sort("item", maintain_order=True)
    )
    item = baskets.get_column("item")
    is_shown = None  # by item, where not all are
    if shown.len() != item.n_unique():
        largest: Any = item.max()
        is_shown = pl.int_range(largest + 1, dtype=pl.UInt32, eager=True).is_in(shown.implode())

    def count(block: tuple[int, int]) -> pl.DataFrame:
        first = pl.col("row") + 1
        pairs = (
            by_item.slice(*block)
            .select("item", other=pl.int_ranges(first, first + pl.col("later"), dtype=pl.UInt32))
            .explode("other")
        )
        other = item.gather(pairs["other"])
        if is_shown is not None:
            wanted = is_shown.gather(pairs["item"]) | is_shown.gather(other)
            pairs, other = pairs.filter(wanted), other.filter(wanted)
        keys = pairs.select(pair_key(pl.col("item"), pl.lit(other))).to_series()
        return (
            count_keys(keys)
            .filter(pl.col("count") >= min_support)
            .select(low=high_code("key"), high=low_code("key"), count="count")
        )

    counted = [pl.DataFrame(schema={"low": pl.UInt32, "high": pl.UInt32, "count": pl.UInt32})]
    blocks = _blocks(by_item["item"], by_item["later"])
    with ThreadPoolExecutor(_BLOCKS_AT_ONCE, thread_name_prefix="pairs") as pool:
        # Never more in line than are counted: whoever interrupts waits for the whole line.
        while some := list(islice(blocks, _BLOCKS_AT_ONCE)):
            counted += pool.map(count, some)
    return pl.concat(counted)


def _blocks(owners: pl.Series, sizes: pl.Series) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of slices of whole owners whose sizes add up to about _BLOCK_PAIRS."""
    sums = sizes.cast(pl.Int64).cum_sum()
    start, done = 0, 0
    while start < owners.len():
        last = min(sums.search_sorted(done + _BLOCK_PAIRS), owners.len() - 1)
        end = owners.search_sorted(owners[last], side="right")
        yield start, end - start
        start, done = end, sums[end - 1]


def _neighbours(pairs: pl.DataFrame, shown: pl.Series, max_neighbours: int) -> pl.DataFrame:
    """Return the shown items' lists, as `strongest_of` gives them: in blocks of whole items."""
    # One for the item itself, one for each entry.
    degrees = (
        pl.concat([pairs["low"], pairs["high"], shown])
        .alias("owner")
        .to_frame()
        .lazy()
        .group_by("owner")
        .len("entries")
        .join(shown.alias("owner").to_frame().lazy(), on="owner", how="semi")
        .sort("owner")
        .collect()
    )
    found = [pl.DataFrame(schema=dict.fromkeys(("owner", "entry", "number"), pl.UInt32))]
    for start, length in _blocks(degrees["owner"], degrees["entries"]):
        block = degrees.slice(start, length)
        first, last = block["owner"][0], block["owner"][-1]
        begin = pairs["low"].search_sorted(first)
        after = pairs.slice(begin, pairs["low"].search_sorted(last, side="right") - begin)
        before = pairs.filter(pl.col("high").is_between(first, last))
        empty = (
            block.filter(pl.col("entries") == 1)
            .select("owner")
            .with_columns(entry=pl.lit(0, pl.UInt32), number=pl.lit(0, pl.UInt32))
        )
        # An owner's neighbours before it and then those after it: ascending.
        entries = pl.concat(
            [
                before.select(owner="high", entry="low", number="count"),
                after.select(owner="low", entry="high", number="count"),
                empty,
            ]
        )
        is_shown = pl.col("owner").is_in(block["owner"].implode())
        found.append(strongest_of(entries.filter(is_shown), max_neighbours))
    return pl.concat(found)
