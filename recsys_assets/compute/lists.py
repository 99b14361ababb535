"""Lists of entries, one list an owner, cut to the strongest and in published order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

_Numbers = npt.NDArray[Any]
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
        entries: `owner`, `entry`, `number`, each UInt32; owners ascending, and each one's entries.
            One of number 0 says that the owner's list is empty; it is the owner's only one.
        most: entries kept per owner, at least 1.

    Returns:
        The same columns, by owner ascending, number descending, entry ascending; where the list is
        empty, `entry` and `number` are null.
    """
    if entries.is_empty():
        return entries
    owner, number = entries["owner"].to_numpy(), entries["number"].to_numpy()
    begins = np.flatnonzero(np.concatenate(([True], owner[1:] != owner[:-1])))
    lengths = np.diff(begins, append=owner.size)
    rows = _strongest_first(lengths, number)
    if lengths.max() > most:
        place = np.arange(rows.size, dtype=np.uint32) - np.repeat(begins.astype(np.uint32), lengths)
        rows = rows[place < most]
    is_there = pl.col("number") > 0
    return entries[pl.Series(rows)].select(
        "owner", pl.when(is_there).then("entry"), pl.when(is_there).then("number")
    )


def _strongest_first(lengths: _Numbers, number: _Numbers) -> _Numbers:
    """Return the rows, UInt32, list after list; of each, the highest number and first row first.

    Args:
        lengths: rows of each list.
        number: of each row, UInt32.
    """
    lists = np.arange(lengths.size, dtype=np.uint64)
    highest = int(number.max())
    of_number, of_row = highest.bit_length(), number.size.bit_length()
    if lists.size.bit_length() + of_number + of_row > 64:
        order: _Numbers = np.lexsort((~number, np.repeat(lists, lengths)))
        return order.astype(np.uint32)
    # One integer tells list, number and row: sorting many of them is what a processor does best.
    keys = np.repeat(((lists << of_number) + highest) << of_row, lengths)
    keys -= number.astype(np.uint64) << of_row
    keys += np.arange(number.size, dtype=np.uint64)
    keys.sort()
    rows: _Numbers = (keys & (2**of_row - 1)).astype(np.uint32)
    return rows
