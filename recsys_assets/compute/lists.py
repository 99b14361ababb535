"""Lists of entries, one list an owner, cut to the strongest and in published order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import polars as pl

from recsys_assets.compute.codes import Numbers, run_heads

# Rows that are ordered at a time; more where one owner's list is longer, which is never split.
BLOCK_ROWS: Final = 1_000_000
# Blocks that are made at a time: each uses one core.
_BLOCKS_AT_ONCE: Final = 2

Block = TypeVar("Block")
Made = TypeVar("Made")


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


def in_order(make: Callable[[Block], Made], blocks: Iterator[Block]) -> Iterator[Made]:
    """Make something of each block, and yield it in their order; some are made at the same time."""
    with ThreadPoolExecutor(_BLOCKS_AT_ONCE, thread_name_prefix="blocks") as pool:
        # Never more in line than are made: whoever interrupts waits for the whole line.
        while some := list(islice(blocks, _BLOCKS_AT_ONCE)):
            yield from pool.map(make, some)


def whole_owners(table: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table in blocks of whole owners.

    Args:
        table: `key` of (owner, entry), ascending.
    """
    for start, length in owner_blocks(table["key"] // 2**32, BLOCK_ROWS):
        yield table.slice(start, length)


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
    several, once = np.flatnonzero(number > 1), np.flatnonzero(number <= 1)
    found = first_rows(run_heads(owner), several, number[several], once, most)
    is_there = pl.col("number") > 0
    return entries[pl.Series(found.rows)].select(
        "owner", pl.when(is_there).then("entry"), pl.when(is_there).then("number")
    )


class FirstRows(NamedTuple):
    """The rows that stay of lists, one list after the other, in published order."""

    rows: Numbers
    number: Numbers  # of each row
    lengths: Numbers  # rows of each list


def first_rows(
    begins: Numbers, several: Numbers, number: Numbers, once: Numbers, most: int
) -> FirstRows:
    """Return the first rows of lists: the highest number and the first row first.

    Most rows have number 1. They come last and in their order, so only the others are ranked.

    Args:
        begins: the first row of each list, ascending. Rows that are in neither of the next are in
            no list.
        several: rows of a higher number than 1, ascending.
        number: of each of these, UInt32.
        once: rows of number 1, ascending.
        most: rows kept per list, at least 1.
    """
    of_several, of_once = (
        np.diff(np.searchsorted(rows, begins), append=rows.size) for rows in (several, once)
    )
    kept = _strongest_rows(of_several, number, most)
    several, number, of_several = several[kept], number[kept], np.minimum(of_several, most)
    skipped = np.cumsum(of_once) - of_once
    of_once = np.minimum(of_once, most - of_several)
    lengths = of_several + of_once
    ends = np.cumsum(lengths)
    rows, numbers = np.empty(int(lengths.sum()), np.int64), np.ones(int(lengths.sum()), np.uint32)
    at = _places(ends - lengths, of_several)
    rows[at], numbers[at] = several, number
    rows[_places(ends - of_once, of_once)] = once[_places(skipped, of_once)]
    return FirstRows(rows, numbers, lengths)


def _places(begins: Numbers, lengths: Numbers) -> Numbers:
    """Return begin, begin + 1, ... of each list, as many as it is long, list after list."""
    places: Numbers = np.arange(int(lengths.sum()))
    places += np.repeat(begins - (np.cumsum(lengths) - lengths), lengths)
    return places


def _strongest_rows(lengths: Numbers, number: Numbers, most: int) -> Numbers:
    """Return the rows that stay (UInt32), list after list, the highest number and first row first.

    Args:
        lengths: rows of each list, which follow one another.
        number: of each row, UInt32.
        most: rows kept per list, at least 1.
    """
    if not number.size:
        return np.empty(0, np.uint32)
    begins = np.repeat((np.cumsum(lengths) - lengths).astype(np.uint32), lengths)
    place = np.arange(number.size, dtype=np.uint32) - begins  # within its list
    longest, highest = int(lengths.max()), int(number.max())
    of_place, of_number = (longest - 1).bit_length(), highest.bit_length()
    bits = (lengths.size - 1).bit_length() + of_number + of_place
    if bits > 64:
        rows: Numbers = np.lexsort((~number, begins)).astype(np.uint32)
    else:
        # One integer tells list, number and place: sorting many of them is what a processor does
        # best, in half the time where they have 32 bits.
        width: Any = np.uint32 if bits <= 32 else np.uint64
        lists = np.arange(lengths.size, dtype=width)
        keys = np.repeat(((lists << of_number) + highest) << of_place, lengths)
        keys -= number.astype(width) << of_place
        keys += place
        keys.sort()
        rows = (keys & (2**of_place - 1)).astype(np.uint32) + begins
    return rows[place < most] if longest > most else rows
