"""Items that are seen in the same sessions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from recsys_assets.compute.coded import Coded
from recsys_assets.compute.codes import (
    Numbers,
    high_code,
    low_code,
    run_heads,
)
from recsys_assets.compute.day_counts import Counts
from recsys_assets.compute.lists import first_rows, in_order

# Pairs of a block, about 40 bytes each; larger blocks leave the processor's caches. What belongs
# to one item stays together, so an item in very many sessions makes its block larger.
_BLOCK_PAIRS: Final = 500_000


@dataclass(frozen=True)
class Cooccurrence:
    """Neighbours (contract `cooc`), and what was left out of them on purpose."""

    neighbours: Coded
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
    held, rows, sizes = _held(counts.baskets, max_items_per_session, listed)
    rows = _of_items_in_most_sessions(rows, sizes, max_items)
    neighbours = _neighbours(held, rows, counts.item_ids.len(), min_support, max_neighbours)
    return Cooccurrence(
        neighbours=Coded(
            neighbours.lazy().select(
                item_id="owner",
                neighbour_id="entry",
                count=pl.col("number").cast(pl.Int64),
            ),
            dict.fromkeys(("item_id", "neighbour_id"), counts.item_ids),
        ),
        sessions=sizes.len(),
        oversized_sessions=int((sizes > max_items_per_session).sum()),
    )


class _Held(NamedTuple):
    """What of the sessions is counted, session after session."""

    items: pl.Series  # of a session ascending
    begins: Numbers  # the place of each session's first item, Int64
    sizes: Numbers  # items of each session, UInt32


def _held(
    keys: pl.Series, max_items_per_session: int, listed: pl.Series | None
) -> tuple[_Held, pl.DataFrame, pl.Series]:
    """Return what of the sessions is counted: without oversized ones and items that are not listed.

    Returns:
        What each session holds.
        The same as rows: `item`, `session` (UInt32), by item, then session.
        How many items each session holds, with those that are not listed.
    """
    session, item = _codes(keys)
    # No number of a session is missing, so it is also the index of its run.
    sizes = session.rle().struct.field("len")
    is_held = (sizes <= max_items_per_session).gather(session)
    if listed is not None:
        is_held &= listed.gather(item)
    ends = is_held.cast(pl.Int64).cum_sum().gather(sizes.cum_sum() - 1).to_numpy()
    if not is_held.all():
        session, item = session.filter(is_held), item.filter(is_held)
    begins = np.concatenate(([0], ends))[: ends.size]
    held = _Held(item, begins, (ends - begins).astype(np.uint32))
    # Of a long window it is large: sorted where it is, and never copied.
    by_item = item.to_numpy().astype(np.uint64)
    by_item <<= np.uint64(32)
    by_item |= session.to_numpy()
    del session
    by_item.sort()
    session_of_item = by_item.astype(np.uint32)
    by_item >>= np.uint64(32)
    rows = pl.DataFrame({"item": by_item.astype(np.uint32), "session": session_of_item})
    return held, rows, sizes


def _codes(keys: pl.Series) -> tuple[pl.Series, pl.Series]:
    codes = keys.to_frame("key").select(high=high_code("key"), low=low_code("key"))
    return codes["high"], codes["low"]


def _of_items_in_most_sessions(
    rows: pl.DataFrame, sizes: pl.Series, max_items: int
) -> pl.DataFrame:
    """Return the rows of sessions that hold another item, of the items that have a list."""
    shared = rows.filter(sizes.gather(rows["session"]) > 1)
    items = shared["item"].rle().struct.field("value")
    if items.len() <= max_items:
        return shared
    shown = (
        rows["item"]
        .rle()
        .struct.unnest()
        .filter(pl.col("value").is_in(items.implode()))
        .sort("len", "value", descending=[True, False])
        .head(max_items)
    )
    return shared.filter(pl.col("item").is_in(shown["value"].implode()))


def _neighbours(
    held: _Held, rows: pl.DataFrame, items: int, min_support: int, max_neighbours: int
) -> pl.DataFrame:
    """Return the lists of the items of `rows`: `owner`, `entry` and `number` as `strongest_of`.

    Pairs are made, counted and ranked in blocks of whole items, so a block's lists are final.
    """
    sizes = held.sizes[rows["session"].to_numpy()]

    def lists(block: slice) -> pl.DataFrame:
        of_block = rows[block]
        item = of_block["item"].to_numpy()
        entry = _entries(held, of_block["session"].to_numpy(), sizes[block])
        return _lists(item, sizes[block], entry, items, min_support, max_neighbours)

    of_none = pl.DataFrame(schema=dict.fromkeys(("owner", "entry", "number"), pl.UInt32))
    blocks = _blocks(rows["item"], pl.Series(sizes))
    return pl.concat([of_none, *in_order(lists, blocks)])


def _entries(held: _Held, session: Numbers, sizes: Numbers) -> Numbers:
    """Return the items of sessions, one session after the other."""
    ends = np.cumsum(sizes, dtype=np.int64)
    places = np.arange(ends[-1], dtype=np.uint32)
    places += np.repeat((held.begins[session] + sizes - ends).astype(np.uint32), sizes)
    # Polars looks up places of 32 bits as they are.
    return held.items.gather(pl.Series(places)).to_numpy()


def _lists(
    item: Numbers,
    sizes: Numbers,
    entry: Numbers,
    items: int,
    min_support: int,
    max_neighbours: int,
) -> pl.DataFrame:
    """Count equal pairs, and return the lists of their items.

    Without pairs of an item with itself, and those that are fewer than `min_support`. Most pairs
    are there once; these are neither counted nor ranked, and those beyond `max_neighbours` are
    never looked at.

    Args:
        item: ascending, each below `items`; once for each of its sessions.
        sizes: how many items the session holds, with the item itself, UInt32.
        entry: the items of these sessions, one session after the other.
        items: number of item codes.
        min_support: at least 1.
        max_neighbours: kept per item, at least 1.
    """
    heads = run_heads(item)
    owners, pairs = item[heads], np.add.reduceat(sizes, heads, dtype=np.int64)
    first = owners[0]
    # Half as wide where they fit, which are sorted in half the time.
    width: Any = np.uint32 if (int(owners[-1] - first) + 1) * items < 2**32 else np.uint64
    bases = (owners - first).astype(width) * width(items)
    keys = np.repeat(bases, pairs)
    keys += entry
    keys.sort()
    is_other = np.ones(keys.size + 1, np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_other[1:-1])
    is_first, is_last = is_other[:-1], is_other[1:]
    is_begin, is_end = is_first > is_last, is_last > is_first  # of a run of several
    itself = np.searchsorted(keys, bases + owners)
    is_begin[itself] = is_end[itself + np.diff(heads, append=item.size) - 1] = False
    several = np.flatnonzero(is_begin)
    number = (np.flatnonzero(is_end) - several + 1).astype(np.uint32)
    if min_support > 2:
        several, number = several[number >= min_support], number[number >= min_support]
    once = several[:0]
    if min_support == 1:
        is_once = is_first & is_last
        is_once[itself] = False
        once = np.flatnonzero(is_once)
    found = first_rows(np.cumsum(pairs) - pairs, several, number, once, max_neighbours)
    listed = pl.DataFrame(
        {
            "owner": np.repeat(owners, found.lengths),
            "entry": (keys[found.rows] - np.repeat(bases, found.lengths)).astype(np.uint32),
            "number": found.number,
        }
    )
    alone = owners[found.lengths == 0]
    if not alone.size:
        return listed
    empty = pl.DataFrame({"owner": alone}).with_columns(
        pl.lit(None, pl.UInt32).alias(name) for name in ("entry", "number")
    )
    return pl.concat([listed, empty]).sort("owner", maintain_order=True)


def _blocks(owners: pl.Series, sizes: pl.Series) -> Iterator[slice]:
    """Yield slices of whole owners whose sizes add up to about _BLOCK_PAIRS."""
    sums = sizes.cast(pl.Int64).cum_sum()
    start, done = 0, 0
    while start < owners.len():
        last = min(sums.search_sorted(done + _BLOCK_PAIRS), owners.len() - 1)
        end = owners.search_sorted(owners[last], side="right")
        yield slice(start, end)
        start, done = end, sums[end - 1]
