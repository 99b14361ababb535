"""Strings to integers of the same order, so that joins and sorts work on 4 bytes each.

The code of a string is its place among the distinct strings, in the order of their UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def distinct(values: pl.LazyFrame, column: str) -> pl.Series:
    """Return the distinct strings of a column, ascending, without null: a code is a place in it."""
    return (
        values.select(pl.col(column).unique())
        .drop_nulls()
        .sort(column)
        .collect(engine="streaming")
        .to_series()
    )


def with_codes(frame: pl.LazyFrame, ids: pl.Series) -> pl.LazyFrame:
    """Replace the column `ids` is named after by `<column>_code`, UInt32; others are dropped."""
    column = ids.name
    table = ids.to_frame().lazy().with_row_index(f"{column}_code")
    return frame.join(table, on=column, how="inner").drop(column)


def decoded(codes: str, ids: pl.Series) -> pl.Expr:
    """Give the strings behind a column of codes; null stays null.

    Rows are decoded as they are asked for: a slice of a lazy frame costs what the slice holds.
    """
    return pl.col(codes).map_batches(ids.gather, return_dtype=pl.String, is_elementwise=True)


def pair_key(high: pl.Expr, low: pl.Expr) -> pl.Expr:
    """Pack two codes into one UInt64 that sorts by `high`, then by `low`."""
    return high.cast(pl.UInt64) * 2**32 + low.cast(pl.UInt64)


def high_code(key: str) -> pl.Expr:
    """Give the first code of a column of pair keys, UInt32."""
    return (pl.col(key) // 2**32).cast(pl.UInt32)


def low_code(key: str) -> pl.Expr:
    """Give the second code of a column of pair keys, UInt32."""
    return (pl.col(key) % 2**32).cast(pl.UInt32)


def count_keys(keys: pl.Series) -> pl.DataFrame:
    """Count equal keys: `key` ascending, `count` (UInt32).

    Sorting and measuring runs is half the time and a fraction of the memory of a hash table when
    most keys are distinct.
    """
    runs = keys.sort().rle()
    return pl.DataFrame({"key": runs.struct.field("value"), "count": runs.struct.field("len")})


def number_together(days: Sequence[pl.Series]) -> tuple[pl.Series, Sequence[pl.Series | None]]:
    """Number the strings of several days anew.

    Args:
        days: what `distinct` gave for each.

    Returns:
        The distinct strings of all days, ascending; and for each day the new code of each of its
        codes, None where a code stays what it is.
    """
    if len(days) == 1:
        return days[0], [None]
    ids = pl.concat(days).unique().sort()
    table = ids.to_frame().with_row_index("code")
    return ids, [
        day.to_frame().join(table, on=ids.name, how="left", maintain_order="left")["code"]
        for day in days
    ]


def recoded(keys: pl.Series, high: pl.Series | None, low: pl.Series | None) -> pl.Series:
    """Return pair keys with their codes replaced by what `number_together` gave for their day."""
    if high is None or low is None:
        return keys
    codes = keys.to_frame().select(high=high_code(keys.name), low=low_code(keys.name))
    pair = pl.DataFrame({"high": high.gather(codes["high"]), "low": low.gather(codes["low"])})
    return pair.select(pair_key(pl.col("high"), pl.col("low")).alias(keys.name)).to_series()
