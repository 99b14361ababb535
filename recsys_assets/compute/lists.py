"""Lists of entries, one list an owner, cut to the strongest and in published order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from recsys_assets.compute.codes import pair_key

# Rows that are ordered at a time; more where one owner's list is longer, which is never split.
BLOCK_ROWS: Final = 1_000_000


def owner_blocks(owners: pl.Series, rows: int) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of slices of about `rows` rows that hold whole owners.

    Args:
        owners: one value a row, equal ones next to each other and ascending, without nulls.
        rows: of a slice, at least, but for the last.
    """
    start = 0
    while start < owners.len():
        last = min(start + rows, owners.len()) - 1
        end = owners.search_sorted(owners[last], side="right")
        yield start, end - start
        start = end


def strongest(entries: pl.DataFrame, most: int) -> pl.DataFrame:
    """Do what `strongest_of` does, a block of owners at a time; `owner` must be ascending."""
    ordered = [
        strongest_of(entries.slice(start, length), most)
        for start, length in owner_blocks(entries["owner"], BLOCK_ROWS)
    ]
    return pl.concat([entries.clear(), *ordered])


def strongest_of(entries: pl.DataFrame, most: int) -> pl.DataFrame:
    """Order the entries of each owner by number, and keep the first ones.

    Args:
        entries: `owner`, `entry`, `number`, each UInt32; each owner's entries ascending. One of
            number 0 says that the owner's list is empty; it is the owner's only one.
        most: entries kept per owner, at least 1.

    Returns:
        The same columns, by owner ascending, number descending, entry ascending; where the list is
        empty, `entry` and `number` are null.
    """
    # Entries are ascending already: one stable sort by one integer does what three columns ask for.
    strongest_first = pair_key(pl.col("owner"), 2**32 - 1 - pl.col("number").cast(pl.UInt64))
    ordered = entries.with_columns(key=strongest_first).sort("key", maintain_order=True)
    is_there = pl.col("number") > 0
    return ordered.filter(_place_in_run(ordered["owner"]) < most).select(
        "owner", pl.when(is_there).then("entry"), pl.when(is_there).then("number")
    )


def _place_in_run(owners: pl.Series) -> pl.Series:
    """Number the rows of each run of equal values from 0."""
    lengths = owners.rle().struct.field("len").cast(pl.Int64)
    starts = lengths.cum_sum() - lengths
    return pl.int_range(owners.len(), eager=True) - starts.gather(owners.rle_id())
