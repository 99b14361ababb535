"""What the two artifacts per user share: counts per (user, item), cut to the strongest."""

from __future__ import annotations

import polars as pl

from recsys_assets.compute.codes import code_table, count_keys, decoded, pair_key, with_codes


def score_items(events: pl.LazyFrame, *, top_n: int, skip_first_event: bool) -> pl.DataFrame:
    """Score each user's items by their exposures, the user's first event counted or not.

    Returns:
        `user_id`, `item_id`, `score`: by user ascending, score descending, item ascending, at most
        `top_n` rows a user; a user whose only event is skipped keeps one row with nulls. Events
        without a user are left out.

    Raises:
        ValueError: `top_n` is below 1.
    """
    if top_n < 1:
        raise ValueError(f"need at least 1: {top_n=}")
    known = events.filter(pl.col("user_id").is_not_null())
    users, items = code_table(known, "user_id"), code_table(known, "item_id")
    user, item = pl.col("user_id_code"), pl.col("item_id_code")
    columns = (
        ["user_id", "item_id", "ts", "file", "line"] if skip_first_event else ["user_id", "item_id"]
    )
    coded = (
        known.select(columns)
        .pipe(with_codes, users)
        .pipe(with_codes, items)
        .with_columns(key=pair_key(user, item))
    )
    if skip_first_event:
        everything = coded.collect(engine="streaming")
        first = (
            everything.lazy()
            .group_by("user_id_code")
            .agg(pl.col("key").sort_by("ts", "file", "line").first(), pl.len())
            .collect(engine="streaming")
        )
        keys = everything.get_column("key")
        del everything
        counts = (
            count_keys(keys)
            .lazy()
            .join(first.lazy().select("key", skipped=pl.lit(1, pl.Int64)), on="key", how="left")
            .select("key", pl.col("count") - pl.col("skipped").fill_null(0))
            .filter(pl.col("count") > 0)
        )
        empty = first.filter(pl.col("len") == 1).get_column("user_id_code")
    else:
        counts = count_keys(coded.select("key").collect(engine="streaming").to_series()).lazy()
        empty = pl.Series(dtype=pl.UInt32)
    scored = (
        counts.select(
            user=(pl.col("key") // 2**32).cast(pl.UInt32),
            item=(pl.col("key") % 2**32).cast(pl.UInt32),
            score=pl.col("count"),
        )
        .sort("user", "score", "item", descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("user") < top_n)
        .collect()
    )
    if empty.len():
        lonely = pl.DataFrame({"user": empty}).with_columns(
            item=pl.lit(None, pl.UInt32), score=pl.lit(None, pl.Int64)
        )
        scored = pl.concat([scored, lonely]).sort("user", maintain_order=True)
    return pl.DataFrame(
        {
            "user_id": decoded(scored["user"], users),
            "item_id": decoded(scored["item"], items),
            "score": scored["score"].cast(pl.Float64),
        }
    )
