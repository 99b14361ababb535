"""Items that are seen in the same sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from recsys_assets.compute.codes import code_table, count_keys, decoded, pair_key, with_codes

# Pairs that are counted at a time, about 40 bytes each; larger blocks gain nothing. All pairs of
# one item are counted together, so an item in very many sessions makes its block larger.
_BLOCK_PAIRS: Final = 4_000_000


@dataclass(frozen=True)
class Cooccurrence:
    """Neighbours (contract `cooc`), and what was left out of them on purpose."""

    neighbours: pl.LazyFrame
    sessions: int
    oversized_sessions: int


def count_cooccurrence(
    events: pl.LazyFrame,
    *,
    max_neighbours: int,
    min_support: int,
    max_items: int,
    max_items_per_session: int,
) -> Cooccurrence:
    """Rank each item's neighbours by the number of sessions that hold both.

    A session counts once per pair however often it repeats an item, and the relation is symmetric
    before the cuts: (a, b, n) is present exactly when (b, a, n) is. Sessions with more than
    `max_items_per_session` distinct items are bots: left out, and counted.

    Args:
        events: contract `canonical_event` of the days of the window, any row order.
        max_neighbours: neighbours kept per item, at least 1.
        min_support: sessions a pair needs to be kept, at least 1.
        max_items: items kept, those in the most sessions, ties by item ascending; at least 1.
        max_items_per_session: distinct items of the largest session that is counted, at least 1.

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
    items = code_table(events, "item_id")
    baskets, sessions, oversized = _baskets(events, items, max_items_per_session)
    shown = _items_in_most_sessions(baskets, max_items)
    baskets = baskets.filter(pl.col("shared")).drop("shared")
    pairs = _count_pairs(baskets, shown, min_support)
    strongest = _strongest(pairs, shown, max_neighbours)
    return Cooccurrence(
        neighbours=pl.LazyFrame(
            {
                "item_id": decoded(strongest["item"], items),
                "neighbour_id": decoded(strongest["neighbour"], items),
                "count": strongest["count"],
            }
        ),
        sessions=sessions,
        oversized_sessions=oversized,
    )


def _baskets(
    events: pl.LazyFrame, items: pl.DataFrame, max_items_per_session: int
) -> tuple[pl.DataFrame, int, int]:
    """Return what the sessions hold, the number of all sessions and of the oversized ones.

    One row per distinct (session, item), by session, then item, without the oversized sessions:
    `item`; `later`, how many of the following rows belong to the same session; `shared`, whether
    the session holds another item.
    """
    sessions = code_table(events, "session_id")
    keys = (
        events.select("session_id", "item_id")
        .pipe(with_codes, items)
        .pipe(with_codes, sessions)
        .select(pair_key(pl.col("session_id_code"), pl.col("item_id_code")))
        .collect(engine="streaming")
        .to_series()
        .sort()
    )
    keys = keys.filter((keys != keys.shift()).fill_null(value=True))
    session = (keys // 2**32).cast(pl.UInt32)
    # Session codes are 0, 1, 2, ... and none is missing, so a code is also the index of its run.
    sizes = session.rle().struct.field("len")
    size = sizes.gather(session)
    last = (sizes.cum_sum().cast(pl.Int64) - 1).gather(session)
    baskets = pl.DataFrame(
        {
            "item": (keys % 2**32).cast(pl.UInt32),
            "later": last - pl.int_range(keys.len(), eager=True),
            "shared": size > 1,
        }
    ).filter(size <= max_items_per_session)
    return baskets, sizes.len(), int((sizes > max_items_per_session).sum())


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

    Pairs are made and counted in blocks of whole `low` items, so a block's counts are final.
    """
    by_item = (
        baskets.with_row_index("row")
        .filter(pl.col("later") > 0)
        .sort("item", "row")
        .with_columns(block=pl.col("later").cum_sum() // _BLOCK_PAIRS)
        .with_columns(block=pl.col("block").first().over("item"))
    )
    item = baskets.get_column("item")
    everything_is_shown = shown.len() == item.n_unique()
    counted = [pl.DataFrame(schema={"low": pl.UInt32, "high": pl.UInt32, "count": pl.Int64})]
    for block in by_item.partition_by("block", include_key=False, maintain_order=True):
        first = pl.col("row").cast(pl.UInt32) + 1
        pairs = block.select(
            "item", other=pl.int_ranges(first, first + pl.col("later"), dtype=pl.UInt32)
        ).explode("other")
        other = item.gather(pairs["other"])
        if not everything_is_shown:
            wanted = pairs["item"].is_in(shown.implode()) | other.is_in(shown.implode())
            pairs, other = pairs.filter(wanted), other.filter(wanted)
        keys = pairs.select(pair_key(pl.col("item"), pl.lit(other))).to_series()
        counted.append(
            count_keys(keys)
            .filter(pl.col("count") >= min_support)
            .select(
                low=(pl.col("key") // 2**32).cast(pl.UInt32),
                high=(pl.col("key") % 2**32).cast(pl.UInt32),
                count="count",
            )
        )
    return pl.concat(counted)


def _strongest(pairs: pl.DataFrame, shown: pl.Series, max_neighbours: int) -> pl.DataFrame:
    """Return `item`, `neighbour`, `count` of the shown items in published order."""
    directed = pl.concat(
        [
            pairs.lazy().select(item="low", neighbour="high", count="count"),
            pairs.lazy().select(item="high", neighbour="low", count="count"),
        ]
    )
    kept = (
        directed.filter(pl.col("item").is_in(shown.implode()))
        .sort("item", "count", "neighbour", descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("item") < max_neighbours)
        .collect()
    )
    alone = shown.filter(~shown.is_in(kept["item"].unique().implode()))
    empty = pl.DataFrame({"item": alone}).with_columns(
        neighbour=pl.lit(None, pl.UInt32), count=pl.lit(None, pl.Int64)
    )
    return pl.concat([kept, empty]).sort("item", maintain_order=True)
