"""Strings to integers of the same order, so that joins and sorts work on 4 bytes each.

The code of a string is its place among the distinct strings, in the order of their UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from polars._typing import EngineType

Numbers = npt.NDArray[Any]


def distinct(values: pl.LazyFrame, column: str, engine: EngineType = "streaming") -> pl.Series:
    """Return the distinct strings of a column, ascending, without null: a code is a place in it."""
    return (
        values.select(pl.col(column).unique())
        .drop_nulls()
        .sort(column)
        .collect(engine=engine)
        .to_series()
    )


def distinct_of_all(days: Sequence[pl.Series]) -> pl.Series:
    """Return the distinct strings of several days, ascending."""
    return pl.concat(days).unique().sort()


def with_codes(frame: pl.LazyFrame, ids: pl.Series) -> pl.LazyFrame:
    """Replace the column `ids` is named after by `<column>_code`, UInt32.

    Args:
        frame: its rows without an id are dropped.
        ids: distinct; every id of the frame is among them.
    """
    column = ids.name
    code, id_of_row = f"{column}_code", pl.col(column)
    # Hashes of ids that are known to differ tell them apart, and are joined in half the time.
    hashes = ids.hash()
    if hashes.n_unique() == ids.len():
        frame = frame.with_columns(pl.when(id_of_row.is_not_null()).then(id_of_row.hash()))
        ids = hashes
    return frame.join(ids.to_frame().lazy().with_row_index(code), on=column).drop(column)


def pair_key(high: pl.Expr, low: pl.Expr) -> pl.Expr:
    """Pack two codes into one UInt64 that sorts by `high`, then by `low`."""
    return high.cast(pl.UInt64) * 2**32 + low.cast(pl.UInt64)


def numbered(codes: pl.Series) -> pl.Series:
    """Return the key of (place, code) of each code, where the places are codes themselves."""
    pairs = codes.alias("code").to_frame().with_row_index("place")
    return pairs.select(key=pair_key(pl.col("place"), pl.col("code"))).to_series()


def high_code(key: str) -> pl.Expr:
    """Give the first code of a column of pair keys, UInt32."""
    return (pl.col(key) // 2**32).cast(pl.UInt32)


def low_code(key: str) -> pl.Expr:
    """Give the second code of a column of pair keys, UInt32."""
    return pl.col(key).cast(pl.UInt32, wrap_numerical=True)


def ascending(numbers: pl.Series) -> pl.Series:
    """Return integers, none of them null, in order.

    NumPy sorts with vector instructions, in a third of the time of Polars. Of days that are put
    together, what is in order already need not be sorted.
    """
    if numbers.is_sorted():
        return numbers
    return pl.Series(numbers.name, np.sort(numbers.to_numpy()))


def count_keys(keys: pl.Series) -> pl.DataFrame:
    """Count equal keys: `key` ascending, `count` (UInt32).

    Sorting and measuring runs is half the time and a fraction of the memory of a hash table when
    most keys are distinct.
    """
    runs = ascending(keys).rle()
    return pl.DataFrame({"key": runs.struct.field("value"), "count": runs.struct.field("len")})


def add_up(keys: pl.Series, counts: pl.Series) -> pl.DataFrame:
    """Add up the counts of equal keys: `key` ascending, `count` (Int64)."""
    key, count = _by_key(keys.to_numpy(), counts.to_numpy())
    heads = run_heads(key)
    sums = np.add.reduceat(count, heads, dtype=np.int64)
    return pl.DataFrame({"key": key[heads], "count": sums})


def run_heads(values: Numbers) -> Numbers:
    """Return the place of the first of each run of equal values."""
    is_first = np.concatenate(([True], values[1:] != values[:-1]))[: values.size]  # of none, none
    return np.flatnonzero(is_first)


def _by_key(key: Numbers, count: Numbers) -> tuple[Numbers, Numbers]:
    """Order keys (UInt64) and their counts (UInt32) by key."""
    bits = int(count.max(initial=0)).bit_length()
    if int(key.max(initial=0)).bit_length() + bits > 64:
        order = np.argsort(key)
        return key[order], count[order]
    # One integer of both: sorting integers takes a fraction of sorting their places.
    both = key << bits
    both |= count
    both.sort()
    return both >> bits, both & (2**bits - 1)


def codes_among(ids: pl.Series, values: pl.Series) -> pl.Series:
    """Return the code of each value among `ids`, UInt32; null for one that is not there."""
    table = ids.to_frame().with_row_index("code")
    found = values.to_frame().join(table, on=ids.name, how="left", maintain_order="left")
    return found["code"]


def number_as_they_come(days: Sequence[pl.Series]) -> Sequence[pl.Series]:
    """Number the strings of several days anew, in the order in which they first come.

    Args:
        days: distinct strings each, at least one day.

    Returns:
        For each day the number of each of its strings, UInt32: 0, 1, 2, ... and none is missing.
    """
    ids = pl.concat(days).alias("id")
    place = pl.int_range(ids.len(), dtype=pl.UInt32, eager=True).alias("place")
    # Equal strings have equal hashes, and few strings come on two days: only those are compared.
    doubtful = ids.hash().is_duplicated()
    same = pl.DataFrame([ids, place]).filter(doubtful).with_columns(pl.first("place").over("id"))
    first = place.clone().scatter(doubtful.arg_true(), same["place"])
    numbers = ((first == place).cum_sum() - 1).gather(first).cast(pl.UInt32)
    starts = accumulate((day.len() for day in days), initial=0)
    return [numbers.slice(start, day.len()) for start, day in zip(starts, days, strict=False)]


def recoded(keys: pl.Series, high: pl.Series, low: pl.Series) -> pl.Series:
    """Return pair keys with their codes replaced: code n by the n-th of `high`, and of `low`."""
    codes, half = keys.to_numpy(), np.uint64(32)  # NumPy: in few keys it is there sooner
    found = high.to_numpy().astype(np.uint64)[codes >> half] << half
    found |= low.to_numpy()[codes.astype(np.uint32)]
    return pl.Series(keys.name, found)
